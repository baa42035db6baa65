//! Plugins from libraries of their own: a well-behaved one passes the suites, a hostile one never takes the worker down.

mod echo;
mod hostile;
mod libraries;
mod loading;
mod log;
