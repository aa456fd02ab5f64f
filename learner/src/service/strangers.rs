//! Strangers: connections that have not shown yet that they may be here. There are few of them at a time, of one address
//! fewer still, and the oldest makes room for the next: whoever opens sockets and says nothing keeps nobody out who speaks.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio_util::sync::CancellationToken;

/// Strangers at a time, and of one address, where there is room for many connections.
const MOST: usize = 256;
const OF_ONE: usize = 64;

/// The strangers of a listener.
#[derive(Debug)]
pub(crate) struct Strangers {
    most: usize,
    of_one: usize,
    next: AtomicU64,
    /// In the order in which they came.
    here: Mutex<VecDeque<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    network: IpAddr,
    out: CancellationToken,
}

impl Strangers {
    /// For a listener with so many places.
    pub fn new(places: usize) -> Arc<Self> {
        let (most, of_one) = (MOST.min(places / 2).max(1), OF_ONE.min(places / 4).max(1));
        Arc::new(Self { most, of_one, next: AtomicU64::new(0), here: Mutex::default() })
    }

    /// Takes in whoever comes from `address`, in place of another where there are enough.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Stranger {
        let (network, out) = (network_of(address), CancellationToken::new());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut here = self.here();
        let mut same = here.iter().enumerate().filter(|(_, waiting)| waiting.network == network);
        let oldest = same.next().map(|(place, _)| place);
        let too_many = match 1 + same.count() >= self.of_one {
            true => oldest,
            false => (here.len() >= self.most).then_some(0),
        };
        if let Some(waiting) = too_many.and_then(|place| here.remove(place)) {
            waiting.out.cancel();
        }
        here.push_back(Waiting { number, network, out: out.clone() });
        Stranger { of: self.clone(), number, out }
    }

    fn here(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one address: with IPv6 a network, of which a single machine has as many addresses as it likes.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// A stranger's place, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    of: Arc<Strangers>,
    number: u64,
    /// Cancelled when its place is another's.
    pub out: CancellationToken,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.of.here().retain(|waiting| waiting.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_an_address_makes_room_and_the_oldest_of_all_where_there_are_many() {
        let strangers = Strangers::new(64);
        let enter = |text: &str| strangers.enter(text.parse().unwrap());
        let gone = |held: &[Stranger]| held.iter().take_while(|s| s.out.is_cancelled()).count();
        let first: Vec<Stranger> = (0..16).map(|_| enter("10.0.0.1")).collect();
        assert_eq!(gone(&first), 0);
        let same = [enter("10.0.0.1"), enter("::ffff:10.0.0.1")];
        assert_eq!((gone(&first), gone(&same)), (2, 0));
        // A network of IPv6 is one, whatever its machines call themselves.
        let second: Vec<Stranger> = (0..17).map(|i| enter(&format!("2001:db8::{i:x}"))).collect();
        assert_eq!((gone(&first), gone(&second)), (2, 1));
        // All places are taken: the oldest of all makes room, and whoever came last never does.
        let other = enter("10.0.0.2");
        assert_eq!((gone(&first), gone(&second), other.out.is_cancelled()), (3, 1, false));
        assert_eq!(strangers.here().len(), 32);
        drop((first, second, same, other));
        assert!(strangers.here().is_empty());
    }
}
