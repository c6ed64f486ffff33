use super::*;

#[test]
fn every_code_has_a_status_that_a_client_understands() {
    for code in Code::ALL {
        let status = refused(&Error::other(code, "x")).status();
        assert!(status.is_client_error() || status.is_server_error(), "{code:?}: {status}");
    }
    let throttled = refused(&Error::Throttled { seconds: 7 });
    assert_eq!(throttled.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(throttled.headers()[header::RETRY_AFTER], "7");
}

mod locking {
    use super::super::locks::{Lock, Locks};
    use super::*;
    use crate::core::catalog::{Catalog, UserId};
    use crate::core::path::{FolderPath, UserName};
    use crate::core::types::ClusterId;
    use crate::core::wire::web::dav::LockWanted;

    /// Two accounts.
    fn users() -> [UserId; 2] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("palk.db");
        let catalog = Arc::new(Catalog::open(&file, ClusterId([1; 16])).unwrap());
        let mut group = catalog.begin_group(1).unwrap();
        let user = |name| UserName::parse(name).unwrap();
        ["ann", "bob"]
            .map(|name| group.attempt(|draft| draft.create_user(&user(name), "", 0)).unwrap())
    }

    fn path(text: &str) -> FolderPath {
        FolderPath::parse(text).unwrap()
    }

    fn lock(token: &str, at: &str, is_deep: bool, is_exclusive: bool) -> Lock {
        let wanted = LockWanted { is_exclusive, owner: String::new() };
        let until = Instant::now() + Duration::from_secs(3600);
        Lock { token: token.into(), path: path(at), is_deep, wanted, until }
    }

    fn known(tokens: &[&str]) -> Vec<String> {
        tokens.iter().map(|token| (*token).to_owned()).collect()
    }

    #[test]
    fn an_exclusive_lock_keeps_others_away_and_a_shared_one_keeps_exclusive_ones_away() {
        let ([ann, bob], locks) = (users(), Locks::default());
        assert!(locks.take(ann, lock("1", "a", true, false)).unwrap());
        assert!(locks.take(ann, lock("2", "a/b", false, false)).unwrap());
        for (at, is_deep) in [("a", false), ("a/b/c", false), ("", true)] {
            assert!(!locks.take(ann, lock("3", at, is_deep, true)).unwrap(), "{at}");
        }
        for (at, is_deep) in [("", false), ("ab", true)] {
            assert!(locks.take(ann, lock("4", at, is_deep, true)).unwrap(), "{at}");
        }
        assert!(locks.take(bob, lock("5", "a", true, true)).unwrap(), "another account's own");
        assert!(!locks.take(bob, lock("6", "a/b", false, false)).unwrap());
    }

    #[test]
    fn what_is_locked_is_changed_by_whoever_knows_the_lock() {
        let ([ann, bob], locks) = (users(), Locks::default());
        locks.take(ann, lock("1", "a", true, true)).unwrap();
        let guard = |user, at: &str, is_deep, tokens: &[&str]| {
            locks.guard(user, &path(at), is_deep, &known(tokens)).is_ok()
        };
        for at in ["a", "a/b", "a/b/c"] {
            assert!(!guard(ann, at, false, &[]) && !guard(ann, at, false, &["2"]), "{at}");
            assert!(guard(ann, at, false, &["2", "1"]), "{at}");
            assert!(guard(bob, at, true, &[]), "{at}");
        }
        assert!(guard(ann, "", false, &[]) && guard(ann, "ab", true, &[]));
        assert!(!guard(ann, "", true, &[]), "the folder around it goes with it");
        assert!(guard(ann, "", true, &["1"]));
        assert!(!locks.release(ann, &path("b"), "1") && !locks.release(bob, &path("a"), "1"));
        assert!(locks.release(ann, &path("a/b"), "1"));
        assert!(guard(ann, "a", true, &[]));
    }

    #[test]
    fn a_lock_ends_with_its_time_and_with_what_is_locked() {
        let ([ann, _], locks) = (users(), Locks::default());
        let over = Lock { until: Instant::now(), ..lock("1", "a", true, true) };
        locks.take(ann, over).unwrap();
        assert!(locks.covering(ann, &path("a")).is_empty());
        assert!(locks.take(ann, lock("2", "a/b", true, true)).unwrap());
        let until = Instant::now() + Duration::from_secs(60);
        assert!(locks.refresh(ann, &path("a/b/c"), &known(&["1"]), until).is_none());
        let refreshed = locks.refresh(ann, &path("a/b/c"), &known(&["2"]), until).unwrap();
        assert_eq!((refreshed.token.as_str(), refreshed.until), ("2", until));
        locks.gone(ann, &path("a"));
        assert!(locks.covering(ann, &path("a/b")).is_empty());
    }

    #[test]
    fn locks_are_limited() {
        let ([ann, bob], locks) = (users(), Locks::default());
        let take = |user, n: usize| locks.take(user, lock("x", &n.to_string(), false, true));
        let refused = (0..).find_map(|n| take(ann, n).err()).unwrap();
        assert_eq!(refused.code(), Code::Temporary);
        assert!(take(bob, 0).unwrap(), "the other account has room");
        let mut talkative = lock("y", "y", false, true);
        talkative.wanted.owner = "y".repeat(2000);
        assert_eq!(locks.take(bob, talkative).unwrap_err().code(), Code::NotAllowed);
    }
}
