//! Panics of the crates that read files as errors: a malformed file makes them panic where they should refuse.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether this thread's panics are caught and told as errors.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What `f` gives, or what it panicked with, in one line and printed nowhere.
pub(crate) fn without_panics<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                others(info);
            }
        }));
    });
    let before = CAUGHT.replace(true);
    // Nothing of `f` is looked at after a panic.
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    CAUGHT.set(before);
    result.map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it made its reader stop").lines().next().unwrap_or_default().to_owned()
}
