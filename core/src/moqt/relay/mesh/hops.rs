//! The hop list of a route: which relays an announcement came through.
//!
//! Between relays of one mesh a PUBLISH_NAMESPACE carries it in an AUTHORIZATION_TOKEN of a private
//! type, by value: the parameter's scope allows nothing else at any draft, and who does not know the
//! type ignores it. The value is the ids one after the other, the sender first and the relay of the
//! original publisher last.
//!
//! | fault | answer |
//! |---|---|
//! | absent, empty, of a broken length, a relay twice, too long | MALFORMED_AUTH_TOKEN |
//! | the first hop is not who sent it | UNAUTHORIZED |
//! | it holds the receiver itself | UNINTERESTED: the route leads back here |

use super::{RELAY_ID_BYTES, RelayId};
use crate::map::BTreeSet;
use crate::moqt::error::RequestCode;
use crate::moqt::parameter::{AuthorizationToken, Parameters};
use bytes::{BufMut, Bytes, BytesMut};

/// Token type of hop lists.
pub(super) const HOPS_TOKEN_TYPE: u64 = 0x6d68_6f70;

/// Why an announcement is not accepted.
pub(super) type Fault = (RequestCode, &'static str);

/// The parameters of an announcement to a relay of the mesh.
pub(super) fn to_parameters(hops: &[RelayId]) -> Parameters {
    let mut value = BytesMut::with_capacity(hops.len().saturating_mul(RELAY_ID_BYTES));
    for hop in hops {
        value.put_slice(&hop.0);
    }
    Parameters {
        authorization_tokens: vec![AuthorizationToken::UseValue {
            token_type: HOPS_TOKEN_TYPE,
            value: value.freeze(),
        }],
        ..Parameters::default()
    }
}

/// Reads and checks the hop list of an announcement by `sender`, as relay `own`.
pub(super) fn from_parameters(
    parameters: &Parameters,
    sender: RelayId,
    own: RelayId,
    hops_max: usize,
) -> Result<Vec<RelayId>, Fault> {
    const MALFORMED: RequestCode = RequestCode::MALFORMED_AUTH_TOKEN;
    let mut lists = parameters.authorization_tokens.iter().filter_map(list_of);
    let (Some(list), None) = (lists.next(), lists.next()) else {
        return Err((
            MALFORMED,
            "expected one hop list with an announcement in the mesh",
        ));
    };
    let hops: Vec<RelayId> = list
        .chunks(RELAY_ID_BYTES)
        .map_while(|hop| hop.try_into().ok().map(RelayId))
        .collect();
    if hops.is_empty() || hops.len().saturating_mul(RELAY_ID_BYTES) != list.len() {
        return Err((MALFORMED, "the hop list is not a run of relay ids"));
    }
    if hops.len() > hops_max {
        return Err((MALFORMED, "the hop list is longer than routes may be"));
    }
    if hops.first() != Some(&sender) {
        return Err((
            RequestCode::UNAUTHORIZED,
            "the hop list does not begin with its sender",
        ));
    }
    if hops.iter().collect::<BTreeSet<_>>().len() != hops.len() {
        return Err((MALFORMED, "the hop list names a relay twice"));
    }
    if hops.contains(&own) {
        return Err((RequestCode::UNINTERESTED, "the route leads back here"));
    }
    Ok(hops)
}

fn list_of(token: &AuthorizationToken) -> Option<&Bytes> {
    match token {
        AuthorizationToken::UseValue {
            token_type: HOPS_TOKEN_TYPE,
            value,
        } => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> RelayId {
        RelayId([byte; RELAY_ID_BYTES])
    }

    fn read(hops: &[RelayId]) -> Result<Vec<RelayId>, Fault> {
        from_parameters(&to_parameters(hops), id(1), id(9), 4)
    }

    #[test]
    fn a_hop_list_survives_the_way() {
        let hops = [id(1), id(2), id(3)];
        assert_eq!(read(&hops), Ok(hops.to_vec()));
    }

    #[test]
    fn forged_hop_lists_are_refused() {
        let code = |hops: &[RelayId]| read(hops).map_err(|fault| fault.0);
        let malformed = Err(RequestCode::MALFORMED_AUTH_TOKEN);
        assert_eq!(code(&[]), malformed);
        assert_eq!(code(&[id(1), id(2), id(1)]), malformed);
        assert_eq!(code(&[id(1), id(2), id(3), id(4), id(5)]), malformed);
        assert_eq!(
            code(&[id(2), id(1)]),
            Err(RequestCode::UNAUTHORIZED),
            "in another's name"
        );
        assert_eq!(code(&[id(1), id(9)]), Err(RequestCode::UNINTERESTED));
        let none = from_parameters(&Parameters::default(), id(1), id(9), 4);
        assert_eq!(none.map_err(|fault| fault.0), malformed);
        let mut cut = to_parameters(&[id(1)]);
        cut.authorization_tokens = vec![AuthorizationToken::UseValue {
            token_type: HOPS_TOKEN_TYPE,
            value: Bytes::from_static(&[1; RELAY_ID_BYTES + 1]),
        }];
        let cut = from_parameters(&cut, id(1), id(9), 4);
        assert_eq!(cut.map_err(|fault| fault.0), malformed);
    }
}
