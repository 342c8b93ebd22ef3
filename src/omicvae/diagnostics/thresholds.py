"""Every number that a verdict rests on, each with its reason. None depends on K, on genes or on units."""

import math

#: One yes/no fact about a cell, in nats. A rate below it cannot tell even two equally large groups of cells
#: apart (the rate is an upper bound of the information); a gain below it is worth less than one such fact.
ONE_FACT = math.log(2)

#: At this rate a posterior draw is told from a prior draw in at most 58 % of guesses
#: (½ + ½·√(rate/2), Pinsker): the encoder is silent whatever the other checks say.
SILENT_RATE = 0.05

#: A wrong z costs about twice what the right z saves (see DecoderUse), so this is one fact's worth of use.
IGNORED_COST = 2 * ONE_FACT

#: A draw that keeps less than this share of PCA's balanced accuracy above chance has lost information.
#: Measured with small NB VAEs: 0.90 to 1.01 at β = 1 (PBMC with 10 and 32 dimensions, paul15, mouse bladder),
#: 0.77 at β = 4, 0.55 at 12, 0.15 at 31 and 0 at 72.
RETAINED_SHARE = 0.8

#: The loss must also be visible in absolute terms: below a tenth it is within what folds and noise do.
LOST_ACCURACY = 0.1

#: Without labels the classes are cut out of the data themselves, where PCA finds them too easily: ask for
#: less.
RETAINED_SHARE_FALLBACK = 0.5

#: Train–validation gap per nat of gain: memorising that costs twice what the latent buys on new cells is
#: overfitting. A gap alone is none: every flexible model has one, and the gain is measured on new cells
#: already.
GAP_PER_GAIN = 2.0

#: Share of the gain that a quarter of the run won at its end. A straight line wins a quarter of everything in
#: its last quarter, so under an annealed learning rate, which bends every curve down at the end, only a curve
#: that does not slow down at all is unfinished; at a constant rate a curve that still wins a tenth is.
STILL_WINNING_ANNEALED = 0.25
STILL_WINNING_CONSTANT = 0.1

#: Learning rate at the end, against its peak, at which the run counts as annealed.
ANNEALED_RATE = 0.1

#: Epochs after the schedule has settled from which on a curve tells "collapsed" from "has not started".
SETTLED_EPOCHS = 5

#: A KL weight within this share of its final value has settled.
SETTLED_WEIGHT = 0.01

#: Training reconstruction that ends this many between-cell SDs above the z-free decoder, and above its own
#: best, has blown up: collapse and overfitting never leave training cells worse off than no latent at all by
#: that much.
BLOW_UP_SD = 3.0
