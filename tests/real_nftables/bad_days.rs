//! What goes wrong with the kernel, and what is true then.
