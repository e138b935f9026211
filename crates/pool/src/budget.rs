//! How many server connections there may be, in one pool, to one node, and in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A shared limit.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: AtomicUsize,
}

impl Budget {
    /// A limit of `max` connections.
    pub fn new(max: usize) -> Arc<Budget> {
        Arc::new(Budget { used: AtomicUsize::new(0), max: AtomicUsize::new(max) })
    }

    /// Changes the limit; those above it stay until they are closed.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Connections counted now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| (used < max).then_some(used + 1))
            .is_ok()
    }
}

/// The right to one connection under several budgets; given back when dropped.
#[derive(Debug, Default)]
pub struct Permit(Vec<Arc<Budget>>);

impl Permit {
    /// One connection under all of `budgets`, or `None` when one of them is used up.
    pub fn take(budgets: &[Arc<Budget>]) -> Option<Permit> {
        let mut permit = Permit(Vec::with_capacity(budgets.len()));
        for budget in budgets {
            if !budget.take() {
                return None;
            }
            permit.0.push(budget.clone());
        }
        Some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        for budget in &self.0 {
            budget.used.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_nothing() {
        let (node, all) = (Budget::new(2), Budget::new(1));
        let budgets = [node.clone(), all.clone()];
        let first = Permit::take(&budgets).unwrap();
        assert!(Permit::take(&budgets).is_none());
        assert_eq!((node.used(), all.used()), (1, 1));
        drop(first);
        assert_eq!((node.used(), all.used()), (0, 0));
    }
}
