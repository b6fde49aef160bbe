//! A link of the list: one word that names the node behind the one it belongs to, and where that node
//! stands in the order of the list.
//!
//! ```text
//!   63    62                           31  30   29                     2   1     0
//! +-----+--------------------------------+----+------------------------+---+--------+
//! | in  |       order of the next        | is |   number of the next   | 0 | marked |
//! | use |                                |    |                        |   |        |
//! +-----+--------------------------------+----+------------------------+---+--------+
//! ```
//!
//! *order* are the upper bits of the next node's key; all but the end of the list leave its first bit 0. *is*: it
//! is an object, and the number that of its slot; otherwise a bucket, and the number its place. Order and *is*
//! together are the *rank*: a bucket stands before the objects of its order. *in use* and *marked* speak of the node
//! that the link belongs to: not in use is a bucket that may not be in the list yet, marked an object that is being
//! removed.

/// Bits of the order of a node. In models so few that objects share one.
pub(super) const ORDER_BITS: u32 = if cfg!(rtm_loom) { 3 } else { 31 };
const RANK_SHIFT: u32 = 30;
const NUMBER_SHIFT: u32 = 2;
const _: () = assert!(RANK_SHIFT - NUMBER_SHIFT >= crate::handle::SLOT_BITS);
const _: () = assert!(RANK_SHIFT + 1 + ORDER_BITS + 1 < u64::BITS);

pub(super) const IN_USE: u64 = 1 << 63;
pub(super) const MARKED: u64 = 1;
/// What a bucket holds that nobody has begun to link, and one that somebody has.
pub(super) const UNUSED: u64 = 0;
pub(super) const CLAIMED: u64 = 1 << 1;

/// Order and kind of a node: what the list is sorted by, as far as a link tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64);

impl Rank {
    #[inline(always)]
    pub(super) fn of_object(key: u64) -> Rank {
        Rank(key >> (64 - ORDER_BITS) << 1 | 1)
    }

    /// `key` is the least that belongs into the bucket.
    pub(super) fn of_bucket(key: u64) -> Rank {
        Rank(key >> (64 - ORDER_BITS) << 1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(pub(super) u64);

impl Link {
    /// To nothing: the end of the list.
    pub(super) const END: Link = Link(IN_USE | 1 << ORDER_BITS << 1 << RANK_SHIFT);

    #[inline(always)]
    pub(super) fn to(rank: Rank, number: u32) -> Link {
        Link(IN_USE | rank.0 << RANK_SHIFT | u64::from(number) << NUMBER_SHIFT)
    }

    #[inline(always)]
    pub(super) fn rank(self) -> Rank {
        Rank((self.0 & !IN_USE) >> RANK_SHIFT)
    }

    #[inline(always)]
    pub(super) fn number(self) -> u32 {
        (self.0 as u32 & ((1 << RANK_SHIFT) - 1)) >> NUMBER_SHIFT
    }

    /// Whether it belongs to a node in use, and leads to one of a greater rank.
    #[inline(always)]
    pub(super) fn leads_beyond(self, rank: Rank) -> bool {
        self.0 > (IN_USE | rank.0 << RANK_SHIFT | ((1 << RANK_SHIFT) - 1))
    }

    pub(super) fn is_to_bucket(self) -> bool {
        self.rank().0 & 1 == 0
    }

    pub(super) fn is_end(self) -> bool {
        self.bare() == Link::END
    }

    pub(super) fn is_marked(self) -> bool {
        self.0 & MARKED != 0
    }

    /// Whether it belongs to a node that is in the list.
    pub(super) fn is_in_use(self) -> bool {
        self.0 & IN_USE != 0
    }

    /// Where it leads: the link of a node in use, unmarked, that leads there.
    #[inline(always)]
    pub(super) fn bare(self) -> Link {
        Link(self.0 & !MARKED | IN_USE)
    }
}

#[cfg(all(test, not(rtm_loom)))]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch() {
        let last = u64::MAX;
        for (rank, object) in [
            (Rank::of_object(0), true),
            (Rank::of_object(last), true),
            (Rank::of_bucket(0), false),
            (Rank::of_bucket(last << 37), false),
        ] {
            for number in [0, 1, (1 << 28) - 1] {
                let bare = Link::to(rank, number);
                assert!(rank < Link::END.rank() && Link::END.leads_beyond(rank));
                for link in [bare, Link(bare.0 | MARKED), Link(bare.0 & !IN_USE)] {
                    assert!(link.rank() == rank && link.number() == number && !link.is_end());
                    assert!(link.bare() == bare && link.is_to_bucket() != object);
                    assert_eq!(link.is_marked(), link.0 & MARKED != 0);
                    assert_eq!(link.is_in_use(), link.0 & IN_USE != 0);
                    assert!(!link.leads_beyond(rank));
                    let before = rank.0.checked_sub(1).map(Rank);
                    let beyond = before.is_none_or(|before| link.leads_beyond(before));
                    assert_eq!(beyond, link.is_in_use() || before.is_none());
                }
            }
        }
        assert!(Link::END.is_in_use() && Link::END.is_to_bucket() && Link::END.is_end());
        assert!(!Link(UNUSED).is_in_use() && !Link(CLAIMED).is_in_use());
    }

    #[test]
    fn a_bucket_stands_before_its_objects() {
        for key in [0, 1 << 63, 3 << 40, u64::MAX << 37] {
            assert!(Rank::of_bucket(key) < Rank::of_object(key));
            assert!(Rank::of_bucket(key) > Rank::of_object(key.wrapping_sub(1)) || key == 0);
        }
    }
}
