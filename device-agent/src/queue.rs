//! Fair turns at the device.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tonic::Status;

use crate::connections::ClientId;

/// Maximum waiting tickets of one client.
const OF_ONE: usize = 16;
/// Maximum waiting tickets.
const OF_ALL: usize = 64;

/// The tickets that wait for a turn. Clients take turns round-robin, so none starves another;
/// the tickets of one client are served in order.
pub struct Queue {
    slots: usize,
    inner: Mutex<Inner>,
    /// Changes with every move.
    moved: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    busy: usize,
    /// Clients in the order of their next turn, each with its tickets.
    ring: VecDeque<(ClientId, VecDeque<u64>)>,
    /// Tickets whose turn has come and that have not taken it yet.
    called: HashSet<u64>,
}

impl Inner {
    fn waiting(&self) -> usize {
        self.ring.iter().map(|(_, tickets)| tickets.len()).sum()
    }

    /// Gives free turns to the next tickets.
    fn advance(&mut self, slots: usize) {
        while self.busy < slots {
            let Some((client, mut tickets)) = self.ring.pop_front() else {
                return;
            };
            if let Some(ticket) = tickets.pop_front() {
                self.called.insert(ticket);
                self.busy += 1;
            }
            if !tickets.is_empty() {
                self.ring.push_back((client, tickets));
            }
        }
    }

    /// Returns how many turns come before that of a waiting ticket, those in progress included.
    fn ahead(&self, ticket: u64) -> Option<usize> {
        let position = self
            .ring
            .iter()
            .enumerate()
            .find_map(|(index, (_, tickets))| {
                let depth = tickets.iter().position(|&other| other == ticket)?;
                Some((index, depth))
            });
        let (index, depth) = position?;
        let before = self.ring.iter().enumerate().map(|(other, (_, tickets))| {
            let rounds = if other < index { depth + 1 } else { depth };
            rounds.min(tickets.len())
        });
        Some(self.busy + before.sum::<usize>())
    }

    fn leave(&mut self, ticket: u64) {
        for (_, tickets) in &mut self.ring {
            tickets.retain(|&other| other != ticket);
        }
        self.ring.retain(|(_, tickets)| !tickets.is_empty());
    }
}

/// The queue has no room for another ticket of the client.
#[derive(Debug)]
pub struct Full {
    waiting: usize,
}

impl From<Full> for Status {
    fn from(full: Full) -> Self {
        Self::resource_exhausted(format!(
            "the queue of this device is full: {} of this client are waiting; at most {OF_ONE} of one and {OF_ALL} in total may",
            full.waiting
        ))
    }
}

impl Queue {
    /// A queue with `slots` turns at once.
    pub fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self {
            slots,
            inner: Mutex::default(),
            moved: watch::Sender::new(0),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the tickets and turns, and wakes all waiting tickets.
    fn change<T>(&self, how: impl FnOnce(&mut Inner) -> T) -> T {
        let outcome = {
            let mut inner = self.inner();
            let outcome = how(&mut inner);
            inner.advance(self.slots);
            outcome
        };
        self.moved
            .send_modify(|count| *count = count.wrapping_add(1));
        outcome
    }

    /// Returns the number of waiting tickets.
    pub fn waiting(&self) -> usize {
        self.inner().waiting()
    }

    /// Adds a ticket of a client.
    pub fn enter(self: &Arc<Self>, client: ClientId) -> Result<Ticket, Full> {
        let id = self.change(|inner| {
            let all = inner.waiting();
            let own = inner.ring.iter_mut().find(|(other, _)| *other == client);
            let waiting = own.as_ref().map_or(0, |(_, tickets)| tickets.len());
            if waiting >= OF_ONE || all >= OF_ALL {
                return Err(Full { waiting });
            }
            let id = inner.next;
            match own {
                Some((_, tickets)) => tickets.push_back(id),
                None => inner.ring.push_back((client, VecDeque::from([id]))),
            }
            inner.next += 1;
            Ok(id)
        })?;
        Ok(Ticket {
            moved: self.moved.subscribe(),
            queue: Arc::clone(self),
            id,
        })
    }
}

/// A place in the queue, released when dropped.
pub struct Ticket {
    queue: Arc<Queue>,
    moved: watch::Receiver<u64>,
    id: u64,
}

impl Ticket {
    /// Returns how many turns come before this one; 0 when it has come.
    pub fn ahead(&self) -> usize {
        self.queue.inner().ahead(self.id).unwrap_or(0)
    }

    /// Waits for the turn. The ticket keeps its place when the future is dropped.
    pub async fn turn(&mut self) -> Turn {
        loop {
            self.moved.mark_unchanged();
            if self.queue.inner().called.remove(&self.id) {
                return Turn(Arc::clone(&self.queue));
            }
            // The queue held here owns the sender, so this never fails.
            let _ = self.moved.changed().await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queue.change(|inner| {
            if inner.called.remove(&self.id) {
                inner.busy -= 1;
            } else {
                inner.leave(self.id);
            }
        });
    }
}

/// A turn, which ends when dropped.
pub struct Turn(Arc<Queue>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.change(|inner| inner.busy -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u64) -> ClientId {
        ClientId::Connection(number)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    }

    #[test]
    fn clients_take_turns_and_each_keeps_its_own_order() {
        let queue = Queue::new(1);
        let mut first = queue.enter(client(9)).unwrap();
        let turn = runtime().block_on(first.turn());
        // Four tickets of client 1 come before two of client 2 and one of client 3.
        let order = [1, 1, 1, 1, 2, 2, 3];
        let mut tickets: Vec<(u64, usize, Ticket)> = order
            .into_iter()
            .enumerate()
            .map(|(order, number)| (number, order, queue.enter(client(number)).unwrap()))
            .collect();
        let ahead: Vec<usize> = tickets
            .iter()
            .map(|(_, _, ticket)| ticket.ahead())
            .collect();
        assert_eq!(ahead, [1, 4, 6, 7, 2, 5, 3]);
        drop(turn);
        let mut served = Vec::new();
        while let Some(next) = tickets
            .iter()
            .position(|(_, _, ticket)| ticket.ahead() == 0)
        {
            let (number, order, mut ticket) = tickets.remove(next);
            let turn = runtime().block_on(ticket.turn());
            served.push((number, order));
            drop(turn);
        }
        let expected = [(1, 0), (2, 4), (3, 6), (1, 1), (2, 5), (1, 2), (1, 3)];
        assert_eq!(served, expected);
    }

    #[test]
    fn a_dropped_ticket_leaves_the_queue_even_when_its_turn_has_come() {
        let queue = Queue::new(1);
        let called = queue.enter(client(1)).unwrap();
        let waits = queue.enter(client(2)).unwrap();
        let last = queue.enter(client(3)).unwrap();
        assert_eq!((called.ahead(), waits.ahead(), last.ahead()), (0, 1, 2));
        drop(waits);
        assert_eq!((queue.waiting(), last.ahead()), (1, 1));
        drop(called);
        assert_eq!((queue.waiting(), last.ahead()), (0, 0));
        drop(last);
        assert_eq!(queue.inner().busy, 0);
    }

    #[test]
    fn no_client_fills_the_queue() {
        let queue = Queue::new(1);
        let mut held = vec![queue.enter(client(0)).unwrap()];
        for number in 0..(OF_ALL / OF_ONE) as u64 {
            held.extend((0..OF_ONE).map(|_| queue.enter(client(number)).unwrap()));
            let status = queue.enter(client(number)).map(drop).map_err(Status::from);
            assert_eq!(status.unwrap_err().code(), tonic::Code::ResourceExhausted);
        }
        assert!(queue.enter(client(77)).is_err(), "all places are taken");
        held.pop();
        assert!(queue.enter(client(77)).is_ok());
    }

    #[test]
    fn each_slot_is_a_turn() {
        let queue = Queue::new(2);
        let tickets: Vec<Ticket> = (0..3).map(|n| queue.enter(client(n)).unwrap()).collect();
        let ahead: Vec<usize> = tickets.iter().map(Ticket::ahead).collect();
        assert_eq!(ahead, [0, 0, 2]);
    }
}
