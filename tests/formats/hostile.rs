//! Files made to fill memory or to be read for ever.
