//! What a storm is like.

use crate::dice::Dice;

/// How often what happens, each in a thousand; drawn anew for each storm.
pub(crate) struct Weather {
    pub(crate) lost: usize,
    pub(crate) repeated: usize,
    pub(crate) overtaking: usize,
    pub(crate) crash: usize,
    /// Crashes of members whose disk has work to do.
    pub(crate) crash_writing: usize,
    pub(crate) restart: usize,
    pub(crate) lagging_disk: usize,
    pub(crate) early_timer: usize,
    pub(crate) cut: usize,
    /// Elections that nobody needs.
    pub(crate) unrest: usize,
    /// States made durable, and logs compacted up to there.
    pub(crate) saved: usize,
    pub(crate) compacted: usize,
    /// States that turn out to be of no use.
    pub(crate) damaged: usize,
    /// Changes of who takes part, and disks that are lost.
    pub(crate) churn: usize,
    pub(crate) wipe: usize,
}

impl Weather {
    /// Members come and go, and lose their disks, only if `has_churn`.
    pub(crate) fn draw(dice: &mut Dice, has_churn: bool) -> Self {
        Weather {
            lost: [0, 10, 100, 300][dice.below(4)],
            repeated: [0, 20, 100][dice.below(3)],
            overtaking: [0, 100, 500][dice.below(3)],
            crash: [0, 2, 8, 30][dice.below(4)],
            crash_writing: [0, 0, 50, 200][dice.below(4)],
            restart: [30, 300][dice.below(2)],
            lagging_disk: [100, 500, 900][dice.below(3)],
            early_timer: [20, 80, 200][dice.below(3)],
            cut: [0, 4, 15][dice.below(3)],
            unrest: [0, 0, 30, 200][dice.below(4)],
            saved: [20, 100, 300][dice.below(3)],
            compacted: [0, 10, 50, 100][dice.below(4)],
            damaged: [0, 0, 0, 2][dice.below(4)],
            churn: if has_churn { [20, 60][dice.below(2)] } else { 0 },
            wipe: if has_churn { [0, 3, 20][dice.below(3)] } else { 0 },
        }
    }
}
