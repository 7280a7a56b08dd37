//! SUBSCRIBE and UNSUBSCRIBE: the requests that wait for their answer, and the filters that are wanted.

use std::collections::BTreeMap;

use super::event::Token;
use crate::codec::{PacketId, Qos};

/// A SUBSCRIBE or UNSUBSCRIBE without its answer yet.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) token: Token,
    /// The filters of a SUBSCRIBE in their order; none for an UNSUBSCRIBE.
    pub(super) filters: Option<Vec<Box<str>>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    requests: BTreeMap<PacketId, Request>,
    /// What is to be renewed on a connection whose session the broker did not keep, in the order of the calls; only
    /// recorded where that is wanted.
    wanted: Option<Vec<(Box<str>, Qos)>>,
}

impl Subscriptions {
    pub(super) fn new(remember: bool) -> Subscriptions {
        Subscriptions { requests: BTreeMap::new(), wanted: remember.then(Vec::new) }
    }

    /// A SUBSCRIBE went out.
    pub(super) fn subscribed(&mut self, id: PacketId, token: Token, filters: &[(&str, Qos)]) {
        let names = filters.iter().map(|(filter, _)| Box::from(*filter)).collect();
        self.requests.insert(id, Request { token, filters: Some(names) });
        if let Some(wanted) = &mut self.wanted {
            for &(filter, qos) in filters {
                match wanted.iter_mut().find(|(name, _)| **name == *filter) {
                    Some((_, old)) => *old = qos,
                    None => wanted.push((filter.into(), qos)),
                }
            }
        }
    }

    /// An UNSUBSCRIBE went out.
    pub(super) fn unsubscribed(&mut self, id: PacketId, token: Token, filters: &[&str]) {
        self.requests.insert(id, Request { token, filters: None });
        if let Some(wanted) = &mut self.wanted {
            wanted.retain(|(name, _)| !filters.contains(&&**name));
        }
    }

    /// The request of this id.
    pub(super) fn request(&self, id: PacketId) -> Option<&Request> {
        self.requests.get(&id)
    }

    /// Ends the request of this id.
    pub(super) fn take(&mut self, id: PacketId) -> Option<Request> {
        self.requests.remove(&id)
    }

    /// Ends all requests: the ids and tokens that nobody will answer.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (PacketId, Token)> {
        std::mem::take(&mut self.requests).into_iter().map(|(id, request)| (id, request.token))
    }

    /// The broker refused this filter: not to be asked for again.
    pub(super) fn refused(&mut self, filter: &str) {
        if let Some(wanted) = &mut self.wanted {
            wanted.retain(|(name, _)| **name != *filter);
        }
    }

    /// What is to be subscribed anew.
    pub(super) fn wanted(&self) -> Vec<(Box<str>, Qos)> {
        self.wanted.clone().unwrap_or_default()
    }
}
