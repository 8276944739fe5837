//! One question to a server that shall be authoritative, and why its answer is none.

use std::net::SocketAddr;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{Name, RData, RecordType, TSigner};

use super::wire::{self, Trouble};

/// Why a server's answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It does not take the signature.
    #[error("does not take the key ({0:?})")]
    Key(TsigError),
    /// Nothing came.
    #[error("gives no answer: {0}")]
    Silent(String),
    /// It does not answer for the zone.
    #[error("{0}")]
    Said(String),
}

/// One question to a server that shall be authoritative.
pub async fn question(
    at: SocketAddr,
    name: &Name,
    kind: RecordType,
    signer: Option<&TSigner>,
) -> Result<Message, Unanswered> {
    let mut question = Message::query();
    question.metadata.recursion_desired = false;
    question.add_query(Query::query(name.clone(), kind));
    let answer = wire::ask(at, question, signer).await;
    let answer = answer.map_err(|trouble| match trouble {
        Trouble::Away(why) | Trouble::Silent(why) => Unanswered::Silent(why),
        Trouble::Key(error) => Unanswered::Key(error),
    })?;
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain if answer.metadata.authoritative => {
            Ok(answer)
        }
        ResponseCode::NoError | ResponseCode::NXDomain => Err(Unanswered::Said(
            "does not answer for the zone (lame)".into(),
        )),
        code => Err(Unanswered::Said(format!("answers {}", word(code)))),
    }
}

/// The serial number of the zone as a server has it.
pub async fn serial(at: SocketAddr, zone: &Name) -> Option<u32> {
    let answer = question(at, zone, RecordType::SOA, None).await.ok()?;
    answer.answers.iter().find_map(|line| match &line.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}

/// A code as servers' logs have it.
pub fn word(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        ResponseCode::Refused => "REFUSED".into(),
        ResponseCode::NXRRSet => "NXRRSET".into(),
        ResponseCode::YXRRSet => "YXRRSET".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::YXDomain => "YXDOMAIN".into(),
        ResponseCode::NotAuth => "NOTAUTH".into(),
        ResponseCode::NotZone => "NOTZONE".into(),
        other => other.to_string(),
    }
}
