"""Every number that a verdict rests on, each with its reason. None depends on K, on genes or on units."""

import math

#: One yes/no fact about a cell, in nats. A rate below it cannot tell even two equally large groups of cells
#: apart (the rate is an upper bound of the information); a gain below it is worth less than one such fact.
ONE_FACT = math.log(2)

#: At this rate a posterior draw is told from a prior draw in at most 58 % of guesses
#: (½ + ½·√(rate/2), Pinsker): the encoder is silent whatever the other checks say.
SILENT_RATE = 0.05

#: A posterior that names each of a billion cells needs so many nats: an encoder that says more is not silent, whatever
#: the decoder makes of it.
NAMES_EVERY_CELL = math.log(1e9)

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

# Curves alone (diagnose_history): units, sums and averages are unknown there, so nearly all of these are ratios.

#: Share of its whole fall that a curve would add in another quarter of the run. A curve that approaches its end
#: exponentially stands at (log 2) / 4 when half of the fall is still to come; a straight line stands at 1/4.
#: Measured on the bundled PBMC counts: 0.21 after 4 epochs, below 0.02 after 60.
HALF_WAY = math.log(2) / 4

#: A change counts beyond this many SDs of the epochs' noise: 1 in 700 by chance.
STANDS_OUT = 3.0

#: Training that ends above its start at one and the same KL weight by more than this share has blown up; less is
#: left open. Optimisers cannot raise what they minimise for long, so this is a guard against rounding only.
BLOWN_UP = 0.01

#: Share of the whole range of the reconstruction that training once lost again at one KL weight: 0.38 at most at
#: learning rates up to 0.3, 0.57 or more from 1 on. Flat curves are all noise, so it is a share of the level as well.
THROWN_BACK = 0.5
THROWN_BACK_LEVEL = 0.1

#: Final KL as a share of its peak. A KL that settles down after its first epochs keeps 20 to 100 % of its peak
#: and one that a ramp presses down from β = 0 a few per cent or less, so this proves nothing alone.
FADED = 0.05

#: Final KL as a share of what the reconstruction changed by. A latent in use wins more than it costs: measured on
#: the bundled PBMC counts 16 % at β = 1, 4 % at 4, 2 % at 12 and 0.001 % at 72 (collapsed). Averages over genes and
#: dimensions make the share larger, by 20 to 1000; averaging the KL alone makes it smaller by 10 to 100.
BOUGHT_LITTLE = 0.02
BOUGHT_NOTHING = 1e-3

#: The two shares multiplied: a KL that fell to 5 % of its peak must be down to a thousandth of the change, one that
#: fell to a thousandth of its peak may be 2 % of it. At β = 72 the product is below 1e-5 with a reconstruction
#: summed or averaged, at β = 12 it is 1e-2.
VANISHED = FADED * BOUGHT_NOTHING

#: A KL that was never more than this share of the reconstruction's change has bought none of it in any
#: convention: sums against averages differ by the number of dimensions, and no latent has a million.
NEVER_SPOKE = 1e-6

#: Validation that lost this share of all it had won, while training went on falling, overfits; early stopping
#: leaves a run 1 or 2 % past its best.
LOST_AGAIN = 0.05

#: A loss averaged over G features has β = 1 at a weight of 1/G. Below 1e-5 that would take more than 100 000
#: features, so the KL is cheaper than β = 1 in any convention.
UNPRICED_WEIGHT = 1e-5

#: Nats, bits, or their average over dimensions. Five times what a posterior needs that names each of a billion cells
#: is no code of cells but the trace of an autoencoder.
EXCESSIVE_KL = 100.0

#: Final KL as a share of its peak from which on nothing presses it down.
UNPRESSED = 0.5

#: Rows below which a curve has no shape.
SHAPED_ROWS = 3

#: A discriminator has won at a loss of 0.05, or of a tenth of its largest, which is taken for 2 at most. One that
#: guesses has 2 (hinge), 1.39 or 0.69 (cross-entropy, summed or averaged), 0.5 or 0.25 (squares); at a cross-entropy of
#: 0.05 it gives the truth 95 %.
DISCRIMINATOR_WON = (0.05, 0.1, 2.0)
