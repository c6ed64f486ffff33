//! The folder door.

use std::io::Write;

use super::programs::{Folder, play, wait_until_read};
use super::support::noise;
use super::{FOLDER, open};

#[test]
fn spec_4_a_conversation_segment_by_segment() {
    let (_cluster, address) = open(FOLDER);
    play(&address, include_str!("folder.txt"));
}

#[test]
fn spec_4_name_size_and_bytes_with_nothing_between() {
    let (_cluster, address) = open(FOLDER);
    let mut client = Folder::connect(&address);
    for (name, size) in
        [("a b.txt", 0), ("2020 12.txt", 1), ("c", 1023), ("d", 1024), ("e", 300_000)]
    {
        let bytes = noise(size as u64, size);
        assert_eq!(client.upload(&format!("C:\\home\\{name}"), &bytes), "File uploaded", "{name}");
        assert!(client.download(name).unwrap() == bytes, "{name}");
    }
}

#[test]
fn spec_4_a_new_file_that_is_being_uploaded_does_not_exist_and_an_old_one_stays() {
    let (_cluster, address) = open(FOLDER);
    let [mut writer, mut reader] = [(); 2].map(|()| Folder::connect(&address));
    assert_eq!(writer.upload("old.txt", b"old"), "File uploaded");
    writer.stream.write_all(b"UPLOADnew.txt 3ne").unwrap();
    wait_until_read(&writer.stream);
    assert_eq!(reader.download("new.txt"), Err("new.txt does not exist".into()));
    writer.stream.write_all(b"w").unwrap();
    assert_eq!(writer.hear(), "File uploaded");
    assert_eq!(reader.download("new.txt").unwrap(), b"new");
    writer.stream.write_all(b"UPLOADold.txt 3ne").unwrap();
    wait_until_read(&writer.stream);
    assert_eq!(reader.download("old.txt").unwrap(), b"old");
    // A client that goes away half-way changes nothing.
    drop(writer);
    assert_eq!(reader.download("old.txt").unwrap(), b"old");
    assert_eq!(reader.ask("DELETE new.txt"), "File deleted");
    assert_eq!(reader.download("new.txt"), Err("new.txt does not exist".into()));
}

#[test]
fn spec_4_chdir_belongs_to_one_client_and_shows_paths_as_the_user_sees_them() {
    let (cluster, address) = open(FOLDER);
    let [mut one, mut other] = [(); 2].map(|()| Folder::connect(&address));
    assert_eq!(one.ask("MKDIR a"), "a file created");
    assert_eq!(one.ask("CHDIR a"), "Directory changed to /a");
    assert_eq!(one.ask("MKDIR b"), "b file created");
    assert_eq!(one.ask("CHDIR b"), "Directory changed to /a/b");
    assert_eq!(one.upload("x.txt", b"x"), "File uploaded");
    assert_eq!(other.ask("DIR"), "a");
    assert_eq!(other.download("x.txt"), Err("x.txt does not exist".into()));
    assert_eq!(other.ask("CHDIR c"), "Error occurred");
    assert_eq!(cluster.retrieve("a/b/x.txt").unwrap(), b"x");
    assert_eq!(one.ask("CHDIR /"), "Directory changed to /");
}

#[test]
fn spec_4_rmdir_only_if_empty() {
    let (_cluster, address) = open(FOLDER);
    let mut client = Folder::connect(&address);
    let refused = "Either a does not exist or a is not empty";
    assert_eq!(client.ask("RMDIR a"), refused);
    assert_eq!(client.ask("MKDIR a"), "a file created");
    assert_eq!(client.ask("MKDIR a/b"), "a/b file created");
    assert_eq!(client.ask("RMDIR a"), refused);
    assert_eq!(client.ask("RMDIR a/b"), "a/b file deleted");
    assert_eq!(client.ask("RMDIR a"), "a file deleted");
    assert_eq!(client.ask("DIR"), "Directory empty");
}

#[test]
fn the_largest_file_is_refused_and_the_connection_goes_on() {
    let options = ["--max-file-size", "1000", "--door", FOLDER];
    let mut cluster = super::Cluster::start_with(&options);
    let address = super::door_address(&mut cluster, "folder");
    let mut client = Folder::connect(&address);
    assert_eq!(client.upload("big.bin", &vec![b'x'; 50_000]), "Error occurred");
    cluster
        .server()
        .says("a file may have at most 1000 bytes on this server, and this one has 50000");
    assert_eq!(client.upload("small.bin", &[b'x'; 1000]), "File uploaded");
    assert_eq!(client.ask("DIR"), "small.bin");
}

#[test]
fn a_name_that_is_none_is_an_error_and_the_connection_goes_on() {
    let (_cluster, address) = open(FOLDER);
    let mut client = Folder::connect(&address);
    for command in ["MKDIR .", "CHDIR a\\b", "MKDIR x/y", "MOVE a", "MOVE a b"] {
        assert_eq!(client.ask(command), "Error occurred", "{command}");
    }
    assert_eq!(client.upload("..", b"x"), "Error occurred");
    assert_eq!(client.ask("DIR"), "Directory empty");
}

#[test]
fn spec_4_move_a_file_into_a_directory() {
    let (cluster, address) = open(FOLDER);
    let mut client = Folder::connect(&address);
    assert_eq!(client.upload("a.txt", b"a"), "File uploaded");
    assert_eq!(client.ask("MKDIR d"), "d file created");
    assert_eq!(client.ask("MOVE a.txt d"), "a.txt moved to d");
    assert_eq!(client.ask("DIR"), "d");
    assert_eq!(client.download("d/a.txt").unwrap(), b"a");
    assert_eq!(cluster.retrieve("d/a.txt").unwrap(), b"a");
    assert_eq!(client.ask("CHDIR d"), "Directory changed to /d");
    assert_eq!(client.ask("MOVE a.txt .."), "a.txt moved to ..");
    assert_eq!(client.ask("DIR"), "Directory empty");
    // Nothing is written over, and nothing leaves the door's folder.
    assert_eq!(client.upload("a.txt", b"other"), "File uploaded");
    assert_eq!(client.ask("MOVE a.txt .."), "Error occurred");
    assert_eq!(client.ask("MOVE a.txt ../.."), "Error occurred");
    assert_eq!(client.ask("CHDIR .."), "Directory changed to /");
    assert_eq!(client.download("a.txt").unwrap(), b"a");
    // A directory moves with all that is in it.
    assert_eq!(client.ask("MKDIR e"), "e file created");
    assert_eq!(client.ask("MOVE d e"), "d moved to e");
    assert_eq!(client.download("e/d/a.txt").unwrap(), b"other");
}
