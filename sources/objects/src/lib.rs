//! `objects-source`: JSON objects of a store or a folder.
