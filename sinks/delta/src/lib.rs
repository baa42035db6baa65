//! `delta-sink`: rows as Delta tables.
