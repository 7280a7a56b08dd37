//! SUBSCRIBE and UNSUBSCRIBE: the requests that wait for their answer, and the filters that are wanted.

use std::collections::{BTreeMap, HashMap};

use super::event::Token;
use crate::codec::v4::SubackCodes;
use crate::codec::{PacketId, Qos};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    requests: BTreeMap<PacketId, Request>,
    /// What may have to be renewed; only recorded where that is wanted.
    #[expect(clippy::box_collection, reason = "most clients have none, and this is smaller")]
    wanted: Option<Box<HashMap<Box<str>, Wanted>>>,
    /// The number of the next filter in `wanted`.
    next: u64,
}

/// A SUBSCRIBE or UNSUBSCRIBE without its answer yet.
#[derive(Debug)]
struct Request {
    token: Token,
    /// The filters of a SUBSCRIBE in their order; none for an UNSUBSCRIBE.
    filters: Option<Vec<Box<str>>>,
}

/// A filter that was subscribed to.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    qos: Qos,
    /// Filters are renewed in the order in which they were first asked for.
    order: u64,
    /// The SUBSCRIBE that has no answer yet.
    pending: Option<PacketId>,
}

impl Subscriptions {
    pub(super) fn new(remember: bool) -> Subscriptions {
        Subscriptions { wanted: remember.then(Box::default), ..Subscriptions::default() }
    }

    /// A SUBSCRIBE went out.
    pub(super) fn subscribed(&mut self, id: PacketId, token: Token, filters: &[(&str, Qos)]) {
        let names = filters.iter().map(|(filter, _)| Box::from(*filter)).collect();
        self.requests.insert(id, Request { token, filters: Some(names) });
        if let Some(wanted) = &mut self.wanted {
            for &(filter, qos) in filters {
                let order = wanted.get(filter).map_or(self.next, |old| old.order);
                self.next += 1;
                wanted.insert(filter.into(), Wanted { qos, order, pending: Some(id) });
            }
        }
    }

    /// An UNSUBSCRIBE went out.
    pub(super) fn unsubscribed(&mut self, id: PacketId, token: Token, filters: &[&str]) {
        self.requests.insert(id, Request { token, filters: None });
        if let Some(wanted) = &mut self.wanted {
            for filter in filters {
                wanted.remove(*filter);
            }
        }
    }

    /// How many filters the SUBSCRIBE of this id has; none if no such request waits.
    pub(super) fn asked(&self, id: PacketId) -> Option<usize> {
        self.requests.get(&id)?.filters.as_ref().map(Vec::len)
    }

    /// SUBACK came for a request that [`asked`](Self::asked) knows: its token and its filters. What the broker refused is
    /// not to be asked for again.
    pub(super) fn granted(&mut self, id: PacketId, codes: SubackCodes<'_>) -> (Token, Vec<Box<str>>) {
        let request = self.requests.remove(&id).expect("the caller has looked it up");
        let filters = request.filters.unwrap_or_default();
        if let Some(wanted) = &mut self.wanted {
            for (filter, code) in filters.iter().zip(codes) {
                match wanted.get_mut(filter) {
                    Some(entry) if entry.pending == Some(id) && code.is_some() => entry.pending = None,
                    Some(entry) if entry.pending == Some(id) => _ = wanted.remove(filter),
                    _ => {} // another call for it came later
                }
            }
        }
        (request.token, filters)
    }

    /// UNSUBACK came: the token of its request, if there is one.
    pub(super) fn ended(&mut self, id: PacketId) -> Option<Token> {
        self.requests.get(&id).filter(|request| request.filters.is_none())?;
        self.requests.remove(&id).map(|request| request.token)
    }

    /// Ends all requests: the ids and tokens that nobody will answer.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (PacketId, Token)> {
        std::mem::take(&mut self.requests).into_iter().map(|(id, request)| (id, request.token))
    }

    /// What a new connection has to subscribe to: all that is wanted, or what was not `confirmed` by a broker that kept
    /// the rest.
    pub(super) fn to_renew(&self, confirmed: bool) -> Vec<(Box<str>, Qos)> {
        let Some(wanted) = &self.wanted else { return Vec::new() };
        let mut renew: Vec<_> =
            wanted.iter().filter(|(_, wanted)| !confirmed || wanted.pending.is_some()).collect();
        renew.sort_unstable_by_key(|(_, wanted)| wanted.order);
        renew.into_iter().map(|(filter, wanted)| (filter.clone(), wanted.qos)).collect()
    }
}
