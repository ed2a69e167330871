"""What the driver of each stand-in GPU (tests/hw/hw) says of it, and how wide it makes subgroups where nobody demands a width."""
from collections import namedtuple

Card = namedtuple("Card", "name widths gib", defaults=(None,))

# As sold, or the chip's name where Mesa knows no better. NVK gets a card's name from the kernel, which is not there: what it
# says of memory, which is each card's own, tells that the right one is meant.
CARDS = {
    "skl": Card("HD Graphics 530 (SKL GT2)", (16,)),
    "icl": Card("Iris(R) Plus Graphics (ICL GT2)", (16,)),
    "tgl": Card("Iris(R) Xe Graphics (TGL GT2)", (16,)),
    "adl": Card("UHD Graphics 770 (ADL-S GT1)", (16,)),
    "dg1": Card("Iris(R) Xe MAX Graphics (DG1)", (16,)),
    "mtl": Card("Arc(tm) Graphics (MTL)", (16,)),
    "arl": Card("Intel(R) Graphics (ARL)", (16,)),
    "a380": Card("Arc(tm) A380 Graphics (DG2)", (16,)),
    "a770": Card("Arc(tm) A770 Graphics (DG2)", (16,)),
    "lnl": Card("Intel(R) Graphics (LNL)", (32,)),
    "b580": Card("Arc(tm) B580 Graphics (BMG G21)", (32,)),
    "ptl": Card("Arc(tm) B390 (PTL)", (32,)),
    "polaris10": Card("RX 580 Series (RADV POLARIS10)", (64,)),
    "vega10": Card("RX Vega (RADV VEGA10)", (64,)),
    "vega20": Card("Radeon VII (RADV VEGA20)", (64,)),
    "renoir": Card("RADV RENOIR", (64,)),
    "navi10": Card("RX 5700 XT (RADV NAVI10)", (32, 64)),
    "navi21": Card("RX 6800 (RADV NAVI21)", (32, 64)),
    "navi23": Card("RX 6600M (RADV NAVI23)", (32, 64)),
    "vangogh": Card("RADV VANGOGH", (32, 64)),
    "rembrandt": Card("RADV REMBRANDT", (32, 64)),
    "navi31": Card("RADV NAVI31", (32, 64)),
    "navi32": Card("RADV NAVI32", (32, 64)),
    "navi33": Card("RADV NAVI33", (32, 64)),
    "phoenix": Card("RADV PHOENIX", (32, 64)),
    "gfx1150": Card("RADV STRIX1", (32, 64)),
    "gfx1151": Card("RADV STRIX_HALO", (32, 64)),
    "gfx1200": Card("RADV GFX1200", (32, 64)),
    "gfx1201": Card("RADV GFX1201", (32, 64)),
    "gtx980": Card("NVK", (32,), 4),
    "gtx1080": Card("NVK", (32,), 8),
    "rtx2080": Card("NVK", (32,), 8),
    "rtx3090": Card("NVK", (32,), 24),
    "rtx4090": Card("NVK", (32,), 24),
    "rtx5090": Card("NVK", (32,), 32),
}


def meant(card, device):
    """Is a device of `hearth devices --json` the card?"""
    return card.name in device["name"] and card.gib in (None, device["memory_bytes"] >> 30)
