//! What keeps the start of the program short: shared libraries that need not be loaded.
//!
//! The loader maps and relocates every shared library of the program before `main`, in each run, for 0.1 ms and more
//! each. `libgcc_s` is there only to unwind and `libm` only for the statistics and pictures of reports.

// The unwinder of `libgcc_s` as a part of the program. GCC, which links, knows where it is.
#[cfg(target_env = "gnu")]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

/// Defines functions of C's `libm` by those of the crate, for everything in the program that calls them.
macro_rules! from_crate {
    ($($name:ident($($argument:ident),+))*) => {
        $(
            /// As in ISO C.
            // SAFETY: the name stands for the same function with the same types as in C, and nothing else defines it.
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: f64),+) -> f64 {
                libm::$name($($argument),+)
            }
        )*
    };
}

#[cfg(target_env = "gnu")]
from_crate! {
    cos(x)
    exp(x)
    log(x)
    log10(x)
    pow(x, y)
}
