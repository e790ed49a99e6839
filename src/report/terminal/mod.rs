//! What a terminal shows: the waterfall and its smaller relatives, and the tables and lines of the commands.

pub mod blame;
pub mod closing_line;
pub mod critical;
pub mod list;
pub mod summary;
pub mod table;
pub mod tree;
pub mod waterfall;

pub use closing_line::closing_line;
pub use list::list;
