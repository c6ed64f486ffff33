//! A cluster of real processes that are killed, stopped and cut off.

mod support;

use support::{Cluster, noise, until};

#[test]
fn a_file_is_read_back_from_every_pair_of_nodes() {
    let mut cluster = Cluster::start();
    let files: Vec<(String, Vec<u8>)> = [0, 1, 353, 1 << 20, 5_000_001]
        .into_iter()
        .map(|size| (format!("test/f{size}.bin"), noise(1, size)))
        .collect();
    for (path, bytes) in &files {
        assert_eq!(cluster.store(path, bytes).unwrap(), 4);
    }
    for (first, second) in [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)] {
        cluster.lose_node(first);
        cluster.lose_node(second);
        for (path, bytes) in &files {
            assert!(
                cluster.retrieve(path).unwrap() == *bytes,
                "{path} without {first} and {second}"
            );
        }
        cluster.return_node(first);
        cluster.return_node(second);
    }
}

#[test]
fn blocks_get_their_final_names() {
    let cluster = Cluster::start();
    cluster.store("test/yeet.txt", &noise(2, 353)).unwrap();
    for node in 1..=4 {
        until("both blocks are there", || cluster.blocks(node, "test/yeet.txt").len() == 2);
        assert!(cluster.staging_is_empty(node));
    }
}
