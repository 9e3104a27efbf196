//! Memory that was given back to the allocator goes back to the system, too.
//!
//! A handshake takes and frees some ten kilobytes, between what its connection keeps for good. After hundreds of them at once
//! the C library holds as much again in such gaps, and knows no time to let go of them by itself.

/// Lets the system have the pages in which nothing is left. It takes a millisecond or so.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it may be called at any time from any thread, and touches no memory that is in use (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
