//! Tests of accounts in the catalog.

use super::*;
use crate::core::types::ClusterId;

fn catalog(folder: &std::path::Path) -> Catalog {
    Catalog::open(&folder.join("palk.db"), ClusterId([1; 16])).unwrap()
}

#[test]
fn an_account_is_signed_in_with_its_password_only() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, gate) = (catalog(folder.path()), HashGate::default());
    let demo = UserName::parse("demo").unwrap();
    let id = catalog.create_user(&gate, &demo, "yeet123", 0).unwrap();
    let account = catalog.sign_in(&gate, "demo", "yeet123", ()).unwrap();
    assert_eq!((account.id, account.name), (id, demo.clone()));
    let failure = |name: &str, password: &str| {
        catalog.sign_in(&gate, name, password, ()).unwrap_err().to_string()
    };
    assert_eq!(failure("demo", "yeet124"), Error::WrongPassword("demo".into()).to_string());
    assert_eq!(failure("nobody", "x"), Error::NoSuchUser("nobody".into()).to_string());
    assert_eq!(failure("../x", "x"), Error::NoSuchUser("../x".into()).to_string());
    let taken = catalog.create_user(&gate, &demo, "other", 0).unwrap_err();
    assert_eq!(taken.code(), Code::UserExists);
    assert!(catalog.create_user(&gate, &UserName::parse("new").unwrap(), "", 0).is_err());
}

#[test]
fn the_hash_for_unknown_users_costs_what_every_other_costs() {
    let mut memory = Vec::new();
    let own = hash("some password", &mut memory).unwrap();
    let parameters = |hash: &str| hash.split('$').take(4).collect::<Vec<_>>().join("$");
    assert_eq!(parameters(&own), parameters(UNKNOWN_USER_HASH));
    assert!(PasswordHash::new(UNKNOWN_USER_HASH).is_ok());
    // What others' implementations make of a password is understood, and the other way round.
    use argon2::password_hash::{PasswordHasher, PasswordVerifier};
    let theirs = Argon2::default().hash_password(b"some password").unwrap().to_string();
    assert!(verify("some password", &theirs, &mut memory));
    let own_parsed = PasswordHash::new(&own).unwrap();
    assert!(Argon2::default().verify_password(b"some password", &own_parsed).is_ok());
    assert!(!verify("", UNKNOWN_USER_HASH, &mut memory));
    assert!(verify("some password", &own, &mut memory));
    assert!(!verify("some other", &own, &mut memory));
}

#[test]
fn an_attempt_that_may_not_be_made_costs_no_hash_and_says_nothing() {
    struct Never(crossbeam_channel::Sender<bool>);
    impl Attempt for Never {
        fn begin(&mut self) -> Result<()> {
            Err(Error::Throttled { seconds: 7 })
        }

        fn end(&mut self, right: bool) {
            self.0.send(right).unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (catalog, gate) = (catalog(folder.path()), HashGate::default());
    let demo = UserName::parse("demo").unwrap();
    catalog.create_user(&gate, &demo, "yeet123", 0).unwrap();
    let (told, tells) = crossbeam_channel::unbounded();
    for name in ["demo", "nobody"] {
        let refused = catalog.sign_in(&gate, name, "yeet123", Never(told.clone()));
        assert_eq!(refused.unwrap_err().to_string(), Error::Throttled { seconds: 7 }.to_string());
    }
    assert!(tells.is_empty());
}

#[test]
fn a_line_that_is_too_long_is_refused_and_not_waited_in() {
    let gate = HashGate::default();
    let (go, wait) = bounded::<()>(0);
    let (begun, begins) = crossbeam_channel::unbounded();
    thread::scope(|scope| {
        for _ in 0..HASHES_AT_ONCE {
            scope.spawn(|| {
                gate.pass({
                    let (wait, begun) = (wait.clone(), begun.clone());
                    move |_| {
                        begun.send(()).unwrap();
                        let _ = wait.recv();
                    }
                })
            });
        }
        (0..HASHES_AT_ONCE).for_each(|_| begins.recv().unwrap());
        for _ in 0..HASHES_WAITING_MAX {
            gate.jobs.try_send(Box::new(|_| ())).unwrap();
        }
        assert_eq!(gate.pass(|_| ()).unwrap_err().code(), Code::Temporary);
        drop(go);
    });
    while gate.pass(|_| ()).is_err() {
        thread::yield_now();
    }
}

#[test]
fn a_changed_password_is_the_only_one() {
    let folder = tempfile::tempdir().unwrap();
    let (catalog, gate) = (catalog(folder.path()), HashGate::default());
    let demo = UserName::parse("demo").unwrap();
    catalog.create_user(&gate, &demo, "old", 0).unwrap();
    let change = |old, new| catalog.change_password(&gate, &demo, [old, new], None, ());
    assert_eq!(change("wrong", "new").unwrap_err().code(), Code::SignIn);
    assert_eq!(change("old", "").unwrap_err().code(), Code::Usage);
    catalog.sign_in(&gate, "demo", "old", ()).unwrap();
    change("old", "new").unwrap();
    assert!(catalog.sign_in(&gate, "demo", "old", ()).is_err());
    catalog.sign_in(&gate, "demo", "new", ()).unwrap();
}

#[test]
fn a_password_is_not_in_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let gate = HashGate::default();
    let name = UserName::parse("demo").unwrap();
    catalog(folder.path()).create_user(&gate, &name, "correct horse battery", 0).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"battery"));
    }
}
