//! SUBSCRIBE and UNSUBSCRIBE: the requests that wait for their answer, and the filters that are wanted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::config::Resubscribe;
use super::event::Token;
use crate::codec::v4::SubackCodes;
use crate::codec::{PacketId, Qos};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    requests: BTreeMap<PacketId, Request>,
    /// What may have to be renewed; only recorded where that is wanted.
    wanted: Option<HashMap<Box<str>, Wanted>>,
    /// Everything that is wanted is renewed on each connection, whatever a broker has said to it.
    always: bool,
    /// With `always`: filters that are no longer wanted and that the broker may still have.
    unwanted: BTreeSet<Box<str>>,
    /// The number of the next filter in `wanted`.
    next: u64,
}

/// A SUBSCRIBE or UNSUBSCRIBE without its answer yet.
#[derive(Debug)]
struct Request {
    token: Token,
    /// The filters in their order.
    filters: Vec<Box<str>>,
    /// It is an UNSUBSCRIBE.
    ends: bool,
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
    pub(super) fn new(resubscribe: Resubscribe) -> Subscriptions {
        let remember = resubscribe != Resubscribe::Never;
        let always = resubscribe == Resubscribe::Always;
        Subscriptions { wanted: remember.then(HashMap::new), always, ..Subscriptions::default() }
    }

    /// Whether calls count also without a connection.
    pub(super) fn always(&self) -> bool {
        self.always
    }

    /// A SUBSCRIBE went out.
    pub(super) fn subscribed(&mut self, id: PacketId, token: Token, filters: &[(&str, Qos)]) {
        let names = filters.iter().map(|(filter, _)| Box::from(*filter)).collect();
        self.requests.insert(id, Request { token, filters: names, ends: false });
        self.want(filters, Some(id));
    }

    /// These filters are wanted; `pending` is the SUBSCRIBE that asks for them, if one does.
    pub(super) fn want(&mut self, filters: &[(&str, Qos)], pending: Option<PacketId>) {
        let Some(wanted) = &mut self.wanted else { return };
        for &(filter, qos) in filters {
            let order = wanted.get(filter).map_or(self.next, |old| old.order);
            self.next += 1;
            wanted.insert(filter.into(), Wanted { qos, order, pending });
            self.unwanted.remove(filter);
        }
    }

    /// An UNSUBSCRIBE went out.
    pub(super) fn unsubscribed(&mut self, id: PacketId, token: Token, filters: &[&str]) {
        let names = filters.iter().map(|filter| Box::from(*filter)).collect();
        self.requests.insert(id, Request { token, filters: names, ends: true });
        self.unwant(filters);
    }

    /// These filters are wanted no longer.
    pub(super) fn unwant(&mut self, filters: &[&str]) {
        let Some(wanted) = &mut self.wanted else { return };
        for filter in filters {
            wanted.remove(*filter);
            if self.always {
                self.unwanted.insert((*filter).into());
            }
        }
    }

    /// How many filters the SUBSCRIBE of this id has; none if no such request waits.
    pub(super) fn asked(&self, id: PacketId) -> Option<usize> {
        self.requests.get(&id).filter(|request| !request.ends).map(|request| request.filters.len())
    }

    /// SUBACK came for a request that [`asked`](Self::asked) knows: its token and its filters. What the broker refused is
    /// not to be asked for again, unless it is to be renewed always: another broker may grant it.
    pub(super) fn granted(&mut self, id: PacketId, codes: SubackCodes<'_>) -> (Token, Vec<Box<str>>) {
        let Request { token, filters, .. } = self.requests.remove(&id).expect("the caller has looked it up");
        if let Some(wanted) = &mut self.wanted {
            for (filter, code) in filters.iter().zip(codes) {
                match wanted.get_mut(filter) {
                    Some(entry) if entry.pending == Some(id) && (code.is_some() || self.always) => {
                        entry.pending = None;
                    }
                    Some(entry) if entry.pending == Some(id) => _ = wanted.remove(filter),
                    _ => {} // another call for it came later
                }
            }
        }
        (token, filters)
    }

    /// UNSUBACK came: the token of its request, if there is one.
    pub(super) fn ended(&mut self, id: PacketId) -> Option<Token> {
        self.requests.get(&id).filter(|request| request.ends)?;
        let request = self.requests.remove(&id)?;
        for filter in &request.filters {
            self.unwanted.remove(filter);
        }
        Some(request.token)
    }

    /// Ends all requests: the ids and tokens that nobody will answer.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (PacketId, Token)> {
        std::mem::take(&mut self.requests).into_iter().map(|(id, request)| (id, request.token))
    }

    /// What a new connection has to unsubscribe from: what the broker has kept though it is no longer wanted.
    pub(super) fn unwanted(&mut self, kept: bool) -> Vec<Box<str>> {
        if !kept {
            self.unwanted.clear();
        }
        self.unwanted.iter().cloned().collect()
    }

    /// What a new connection has to subscribe to: all that is wanted, or what was not `confirmed` by a broker that kept
    /// the rest.
    pub(super) fn to_renew(&self, confirmed: bool) -> Vec<(Box<str>, Qos)> {
        let Some(wanted) = &self.wanted else { return Vec::new() };
        let all = self.always || !confirmed;
        let mut renew: Vec<_> = wanted.iter().filter(|(_, wanted)| all || wanted.pending.is_some()).collect();
        renew.sort_unstable_by_key(|(_, wanted)| wanted.order);
        renew.into_iter().map(|(filter, wanted)| (filter.clone(), wanted.qos)).collect()
    }
}
