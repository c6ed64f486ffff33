//! Sign-ins by a clock that the test turns.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::core::error::Code;
use crate::core::types::ClusterId;

struct Fixture {
    accounts: Accounts,
    now_ms: Arc<AtomicU64>,
    _folder: tempfile::TempDir,
}

const OFFICE: Origin = Origin::Far(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));

fn stranger(n: u8) -> Origin {
    Origin::of(IpAddr::from([203, 0, 113, n]))
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("palk.db"), ClusterId([1; 16])).unwrap();
        let now_ms = Arc::new(AtomicU64::new(0));
        let clock = now_ms.clone();
        let clock: Clock = Arc::new(move || clock.load(Ordering::SeqCst));
        let random = Arc::new(Random::seeded(1));
        let catalog = Arc::new(catalog);
        let made = catalog.clone();
        let submit: Submit = Arc::new(move |job| {
            let mut group = made.begin_group(1)?;
            group.attempt(job)?;
            group.commit()
        });
        let accounts = Accounts::with_clock(catalog, submit, random, clock);
        accounts.create(&UserName::parse("demo").unwrap(), "right").unwrap();
        Fixture { accounts, now_ms, _folder: folder }
    }

    fn pass(&self, seconds: u64) {
        self.now_ms.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }

    /// What a sign-in comes to: `Ok` is in, `Err(Some)` is the wait in seconds.
    fn try_in(
        &self,
        name: &str,
        password: &str,
        from: Origin,
    ) -> std::result::Result<(), Option<u64>> {
        match self.accounts.sign_in(name, password, from) {
            Ok(_) => Ok(()),
            Err(Error::Throttled { seconds }) => Err(Some(seconds)),
            Err(Error::NoSuchUser(_) | Error::WrongPassword(_)) => Err(None),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn wrong_passwords_are_answered_ever_later_and_a_right_one_after_the_wait_resets() {
    let fixture = Fixture::new();
    for name in ["demo", "nobody"] {
        for _ in 0..4 {
            assert_eq!(fixture.try_in(name, "wrong", Origin::Local), Err(None));
        }
        // From here on the right one is not looked at either, and known and unknown look the same.
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(fixture.try_in(name, "right", Origin::Local), Err(Some(wait)));
            fixture.pass(wait);
            assert_eq!(fixture.try_in(name, "wrong", Origin::Local), Err(None));
        }
    }
    fixture.pass(60);
    assert_eq!(fixture.try_in("demo", "right", Origin::Local), Ok(()));
    for _ in 0..4 {
        assert_eq!(fixture.try_in("demo", "wrong", Origin::Local), Err(None));
    }
}

#[test]
fn another_password_begins_anew() {
    let fixture = Fixture::new();
    for _ in 0..6 {
        let _ = fixture.try_in("demo", "wrong", Origin::Local);
        let _ = fixture.try_in("ann", "wrong", Origin::Local);
    }
    let (demo, ann) = (UserName::parse("demo").unwrap(), UserName::parse("ann").unwrap());
    fixture.accounts.set_password(&demo, "new").unwrap();
    fixture.accounts.create(&ann, "hers").unwrap();
    assert_eq!(fixture.try_in("demo", "new", Origin::Local), Ok(()));
    assert_eq!(fixture.try_in("ann", "hers", Origin::Local), Ok(()));
}

#[test]
fn guessing_from_many_addresses_is_slowed_down_by_the_account() {
    let fixture = Fixture::new();
    let mut looked_at = 0;
    // Ten minutes of one guess a second, each from another address.
    for second in 0..600_u64 {
        let from = stranger(u8::try_from(second % 250).unwrap());
        looked_at += usize::from(fixture.try_in("demo", "wrong", from) == Err(None));
        fixture.pass(1);
    }
    assert!((15..=22).contains(&looked_at), "{looked_at} guesses were looked at");
}

#[test]
fn a_stranger_who_guesses_does_not_shut_the_owner_out() {
    let fixture = Fixture::new();
    fixture.try_in("demo", "right", OFFICE).unwrap();
    for n in 0..100 {
        let _ = fixture.try_in("demo", "wrong", stranger(n));
    }
    assert!(matches!(fixture.try_in("demo", "right", stranger(200)), Err(Some(1..=60))));
    assert_eq!(fixture.try_in("demo", "right", OFFICE), Ok(()));
    // At the owner's own address guesses count as well.
    for _ in 0..4 {
        assert_eq!(fixture.try_in("demo", "wrong", OFFICE), Err(None));
    }
    assert_eq!(fixture.try_in("demo", "right", OFFICE), Err(Some(1)));
}

#[test]
fn an_address_that_tries_many_accounts_has_to_wait() {
    let fixture = Fixture::new();
    for n in 0..21 {
        assert_eq!(fixture.try_in(&format!("user{n}"), "123456", stranger(1)), Err(None));
    }
    assert_eq!(fixture.try_in("demo", "right", stranger(1)), Err(Some(1)));
    assert_eq!(fixture.try_in("demo", "right", stranger(2)), Ok(()));
    // An own account does not buy guesses at others: it takes back one of them.
    fixture.pass(1);
    assert_eq!(fixture.try_in("demo", "right", stranger(1)), Ok(()));
    assert_eq!(fixture.try_in("user1", "123456", stranger(1)), Err(None));
    assert_eq!(fixture.try_in("user2", "123456", stranger(1)), Err(Some(1)));
    // What everybody on this machine shares is not counted.
    for n in 0..60 {
        assert_eq!(fixture.try_in(&format!("other{n}"), "123456", Origin::Local), Err(None));
    }
    assert_eq!(fixture.try_in("demo", "right", Origin::Local), Ok(()));
}

#[test]
fn attempts_that_wait_in_line_are_judged_by_those_before_them() {
    let fixture = Fixture::new();
    let tries = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..40)
            .map(|_| scope.spawn(|| fixture.try_in("demo", "wrong", Origin::Local)))
            .collect();
        tries.into_iter().map(|tried| tried.join().unwrap()).collect::<Vec<_>>()
    });
    let looked_at = tries.iter().filter(|tried| **tried == Err(None)).count();
    assert!((4..=5).contains(&looked_at), "two are hashed at a time: {tries:?}");
    // Right ones never hinder each other.
    fixture.pass(60);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| assert_eq!(fixture.try_in("demo", "right", Origin::Local), Ok(())));
        }
    });
}

#[test]
fn a_token_stands_for_the_password_until_it_is_revoked() {
    let fixture = Fixture::new();
    let accounts = &fixture.accounts;
    let user = accounts.sign_in("demo", "right", Origin::Local).unwrap();
    let token = accounts.issue_token(&user, "lap\x1btop").unwrap();
    let other = accounts.issue_token(&user, "phone").unwrap();
    assert_ne!(token, other);
    // Guesses at the password do not matter to it.
    for _ in 0..9 {
        let _ = fixture.try_in("demo", "wrong", Origin::Local);
    }
    let (mut by_token, is_due) = accounts.sign_in_by_token("demo", &token).unwrap();
    assert!(!is_due, "it was made just now");
    assert_eq!(by_token.name.as_str(), "demo");
    fixture.pass(60);
    accounts.change_password(&mut by_token, "right", "new", Origin::Local).unwrap();
    accounts.sign_in_by_token("demo", &token).unwrap();
    let stolen = accounts.sign_in_by_token("demo", &other).unwrap_err();
    assert_eq!(stolen.code(), Code::SignIn);
    accounts.revoke_token(&mut by_token).unwrap();
    assert!(accounts.sign_in_by_token("demo", &token).is_err());
}

#[test]
fn a_changed_password_ends_all_sessions_but_the_one_that_changed_it() {
    let fixture = Fixture::new();
    let accounts = &fixture.accounts;
    let sign_in = || accounts.sign_in("demo", "right", Origin::Local).unwrap();
    let goes_on = |user: &User| accounts.catalog.check_standing(&user.account, &user.proof);
    let (mut own, other) = (sign_in(), sign_in());
    let token = accounts.issue_token(&own, "here").unwrap();
    let (mut by_token, _) = accounts.sign_in_by_token("demo", &token).unwrap();
    accounts.revoke_token(&mut by_token).unwrap();
    goes_on(&by_token).unwrap();
    accounts.change_password(&mut own, "right", "new", Origin::Local).unwrap();
    goes_on(&own).unwrap();
    for ended in [&other, &by_token] {
        assert!(matches!(goes_on(ended), Err(Error::PasswordChanged)));
    }
    // By the operator: his own as well.
    accounts.set_password(&own.name, "newer").unwrap();
    assert_eq!(goes_on(&own).unwrap_err().code(), Code::SignIn);
}

#[test]
fn accounts_are_asked_for_from_one_address_with_growing_waits() {
    let fixture = Fixture::new();
    let ask = |from| fixture.accounts.count_sign_up(from);
    (0..=20).for_each(|_| ask(OFFICE).unwrap());
    let mut waits = Vec::new();
    for _ in 0..8 {
        let Err(Error::TooManySignUps { seconds }) = ask(OFFICE) else { panic!("it waits") };
        waits.push(seconds);
        fixture.pass(seconds);
        ask(OFFICE).unwrap();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    ask(stranger(1)).unwrap();
    (0..100).for_each(|_| ask(Origin::Local).unwrap());
}

#[test]
fn one_network_is_one_origin() {
    let of = |text: &str| Origin::of(text.parse().unwrap());
    assert_eq!(of("127.0.0.9"), Origin::Local);
    assert_eq!(of("::1"), Origin::Local);
    assert_eq!(of("::ffff:127.0.0.1"), Origin::Local);
    assert_eq!(of("::ffff:10.0.0.1"), OFFICE);
    assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
}
