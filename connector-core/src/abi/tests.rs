mod batches;
mod calls;
mod layout;
