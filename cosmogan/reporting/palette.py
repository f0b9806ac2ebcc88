"""The figures' colours, those of Okabe & Ito, told apart by all, and what they stand for; needs no matplotlib.

N-body is black, generated samples blue (several runs: one colour, dash and marker each), the training boxes amber.
"""

BLACK, BLUE, ORANGE, GREEN, GREY = "#000000", "#0072B2", "#D55E00", "#009E73", "#8a8a8a"
AMBER, PURPLE, SKY, DARK_GREY = "#E69F00", "#CC79A7", "#56B4E9", "#5c5c5c"
RUNS = (  # of several runs: colour, dash, marker
    (BLUE, "-", "o"),
    (ORANGE, "--", "s"),
    (GREEN, "-.", "^"),
    (PURPLE, ":", "D"),
    (SKY, (0, (5, 1, 1, 1, 1, 1)), "v"),
    (AMBER, (0, (3, 1)), "P"),
)
LABELS = {"nbody": ("N-body", BLACK), "generated": ("generated", BLUE), "training": ("training boxes", AMBER)}
BESIDE = {  # more sets that a run measured: name, colour, dash, marker
    "mocks": ("mapped Gaussian", ORANGE, "--", "s"),
    "as_trained": ("as trained", SKY, ":", "D"),
    "mapped_input": ("mapped quick run", GREEN, "-.", "^"),
}
