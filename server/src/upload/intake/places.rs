//! How many uploads come in at once: in all, and of one user.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// One user has at most this share of the places, and at least one.
const SHARE: usize = 4;

/// The places. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::upload) struct Places {
    max: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_user: HashMap<Arc<str>, usize>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub struct PlaceHeld {
    places: Places,
    user: Arc<str>,
}

impl Places {
    pub fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    /// A place for `user`, if there is one.
    pub(super) fn take(&self, user: &Arc<str>) -> Option<PlaceHeld> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = taken.by_user.get(user).copied().unwrap_or_default();
        if taken.all >= self.max || of_user >= (self.max / SHARE).max(1) {
            return None;
        }
        taken.all += 1;
        taken.by_user.insert(user.clone(), of_user + 1);
        Some(PlaceHeld { places: self.clone(), user: user.clone() })
    }
}

impl Drop for PlaceHeld {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(of_user) = taken.by_user.get_mut(&self.user) {
            *of_user -= 1;
            if *of_user == 0 {
                taken.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_of_them() {
        let [alice, bob]: [Arc<str>; 2] = ["alice".into(), "bob".into()];
        let places = Places::new(9);
        let held: Vec<_> = (0..2).map(|_| places.take(&alice).unwrap()).collect();
        assert!(places.take(&alice).is_none());
        let other = places.take(&bob).unwrap();
        drop(held);
        assert!(places.take(&alice).is_some());
        drop(other);
        let taken = places.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by_user.len()), (0, 0));
        drop(taken);
        let others: Vec<_> = (0..9).map(|number| places.take(&format!("user {number}").into()).unwrap()).collect();
        assert!(places.take(&bob).is_none());
        drop(others);
    }
}
