//! SUBSCRIBE and UNSUBSCRIBE: the requests that wait for their answer, and the filters that are wanted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::config::Resubscribe;
use super::event::Token;
use super::on_demand::{Blank, OnDemand};
use crate::codec::v4::SubackCodes;
use crate::codec::{PacketId, Qos};

/// See the module.
#[derive(Debug)]
pub(super) struct Subscriptions {
    requests: OnDemand<Requests>,
    /// Where subscriptions are to be renewed.
    renewal: Option<Box<Renewal>>,
}

/// By packet id.
type Requests = BTreeMap<PacketId, Request>;

impl Blank for Requests {
    const BLANK: Requests = BTreeMap::new();
    const SHOWN: &'static Requests = &BTreeMap::new();

    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

/// What may have to be renewed.
#[derive(Debug)]
struct Renewal {
    wanted: HashMap<Box<str>, Wanted>,
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
        let always = resubscribe == Resubscribe::Always;
        let renewal = Renewal { wanted: HashMap::new(), always, unwanted: BTreeSet::new(), next: 0 };
        let renewal = (resubscribe != Resubscribe::Never).then(|| Box::new(renewal));
        Subscriptions { requests: OnDemand::new(), renewal }
    }

    /// Whether calls count also without a connection.
    pub(super) fn always(&self) -> bool {
        self.renewal.as_ref().is_some_and(|renewal| renewal.always)
    }

    /// A SUBSCRIBE went out.
    pub(super) fn subscribed(&mut self, id: PacketId, token: Token, filters: &[(&str, Qos)]) {
        let names = filters.iter().map(|(filter, _)| Box::from(*filter)).collect();
        self.requests.insert(id, Request { token, filters: names, ends: false });
        self.want(filters, Some(id));
    }

    /// These filters are wanted; `pending` is the SUBSCRIBE that asks for them, if one does.
    pub(super) fn want(&mut self, filters: &[(&str, Qos)], pending: Option<PacketId>) {
        let Some(renewal) = &mut self.renewal else { return };
        for &(filter, qos) in filters {
            let order = renewal.wanted.get(filter).map_or(renewal.next, |old| old.order);
            renewal.next += 1;
            renewal.wanted.insert(filter.into(), Wanted { qos, order, pending });
            renewal.unwanted.remove(filter);
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
        let Some(renewal) = &mut self.renewal else { return };
        for filter in filters {
            renewal.wanted.remove(*filter);
            if renewal.always {
                renewal.unwanted.insert((*filter).into());
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
        self.requests.shrink();
        if let Some(renewal) = &mut self.renewal {
            let Renewal { wanted, always, .. } = &mut **renewal;
            for (filter, code) in filters.iter().zip(codes) {
                match wanted.get_mut(filter) {
                    Some(entry) if entry.pending == Some(id) && (code.is_some() || *always) => {
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
        self.requests.shrink();
        if let Some(renewal) = &mut self.renewal {
            for filter in &request.filters {
                renewal.unwanted.remove(filter);
            }
        }
        Some(request.token)
    }

    /// Ends all requests: the ids and tokens that nobody will answer.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (PacketId, Token)> {
        let requests = self.requests.get_mut().map(std::mem::take).unwrap_or_default();
        self.requests.clear();
        requests.into_iter().map(|(id, request)| (id, request.token))
    }

    /// What a new connection has to unsubscribe from: what the broker has kept though it is no longer wanted.
    pub(super) fn unwanted(&mut self, kept: bool) -> Vec<Box<str>> {
        let Some(renewal) = &mut self.renewal else { return Vec::new() };
        if !kept {
            renewal.unwanted.clear();
        }
        renewal.unwanted.iter().cloned().collect()
    }

    /// What a new connection has to subscribe to: all that is wanted, or what was not `confirmed` by a broker that kept
    /// the rest.
    pub(super) fn to_renew(&self, confirmed: bool) -> Vec<(Box<str>, Qos)> {
        let Some(renewal) = &self.renewal else { return Vec::new() };
        let all = renewal.always || !confirmed;
        let mut renew: Vec<_> =
            renewal.wanted.iter().filter(|(_, wanted)| all || wanted.pending.is_some()).collect();
        renew.sort_unstable_by_key(|(_, wanted)| wanted.order);
        renew.into_iter().map(|(filter, wanted)| (filter.clone(), wanted.qos)).collect()
    }
}
