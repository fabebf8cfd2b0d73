//! How much memory a piece of code holds at its worst moment, for tests.
//!
//! The test binary's allocator counts what the current thread holds. It is the system's allocator otherwise.

#![expect(unsafe_code, reason = "an allocator is an unsafe trait; it passes every call on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn took(bytes: usize) {
    let held = HELD.get().wrapping_add(bytes);
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

fn gave(bytes: usize) {
    // what another thread took may be given here
    HELD.set(HELD.get().saturating_sub(bytes));
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's layout
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: the caller's pointer and layout
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // the old and the new piece may both be there for a moment
        took(size);
        gave(layout.size());
        // SAFETY: the caller's pointer, layout and size
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The most bytes that `run` held at once beyond what was held before, and its result.
pub(crate) fn peak_of<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get();
    PEAK.set(before);
    let result = run();
    (PEAK.get() - before, result)
}

#[test]
fn the_peak_counts_what_was_held_at_once() {
    let (peak, ()) = peak_of(|| {
        drop(Vec::<u8>::with_capacity(1000));
        drop(Vec::<u8>::with_capacity(3000));
    });
    assert_eq!(peak, 3000);
}
