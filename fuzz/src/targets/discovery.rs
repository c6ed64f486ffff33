//! Datagrams of anybody, taken for questions and for answers: what is understood means the same after
//! it was encoded again, and nobody is sent more than a question of Palk has.

use palk::core::serve::discovery::{Announced, Discovery};
use palk::core::types::Fingerprint;
use palk::core::wire::discovery::{
    ANSWER_BYTES_MAX, Answer, NAME_BYTES_MAX, PALK_QUESTION_BYTES, Question, ServiceName,
};

pub(crate) fn run(data: &[u8]) {
    if let Some(question) = Question::decode(data) {
        assert_eq!(Question::decode(&question.encode()), Some(question));
        let palk = Announced {
            address: ([0, 0, 0, 0], 17777).into(),
            fingerprint: Fingerprint([0xab; 32]),
        };
        let discovery = Discovery { name: longest_name(), palk: Some(palk), share: None };
        let answer = discovery.answer(data, [10, 0, 0, 1].into()).expect("a question is answered");
        assert!(answer.len() <= PALK_QUESTION_BYTES);
        assert!(question == Question::Specified || answer.len() <= data.len());
        assert!(Answer::decode(&answer).is_some());
    }
    if let Some(answer) = Answer::decode(data) {
        assert!(data.len() <= ANSWER_BYTES_MAX && answer.service().len() <= ANSWER_BYTES_MAX);
        assert_eq!(Answer::decode(&answer.encode()), Some(answer.clone()));
        if let Answer::Palk { name, port, .. } = answer {
            assert!(port > 0 && (1..=NAME_BYTES_MAX).contains(&name.to_string().len()));
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let name = ServiceName::of_host(text);
        assert_eq!(name.to_string().parse(), Ok(name));
    }
}

fn longest_name() -> ServiceName {
    "n".repeat(NAME_BYTES_MAX).parse().expect("a name")
}
