"""exp, log and their relatives with known error, the same bits on every machine.

libm's functions differ between platforms by an ulp or more, and a bound that rests on them is not a bound. These
use +, -, *, / and shifts of bits only, so LLVM can vectorise them and IEEE 754 fixes every bit of the result.

Errors are in units of ``U = 2**-53`` relative to the result. Series are cut where the remainder is below 0.1 U;
what rounding adds was counted by hand and then measured against mpmath (`tests/kernels/test_elementary.py`).
"""

from __future__ import annotations

import numpy as np

from streamsample.kernels.jit import bits_of_float, float_of_bits, inlined, kernel

U = 2.0**-53

LN2_HI = 6.93147180369123816490e-01  # 33 bits, so that n * LN2_HI is exact for |n| < 2**20 (fdlibm's split)
LN2_LO = 1.90821492927058770002e-10
INV_LN2 = 1.4426950408889634

# Each at least twice what tests/kernels/test_elementary.py measures (in brackets).
EXP_ERROR = 6.0  # U (1.2)
LOG_ERROR = 8.0  # U, log and log1p (3.7)
DEVIANCE_ERROR = 36.0  # U (16, just above |x| = 1/2 where the plain form cancels most)
STIRLING_ERROR = 8.0  # U, absolute, for z >= 1 (0.8)
STIRLING_ERROR_SMALL = 160.0  # U, absolute, for z in [1e-6, 1) (71): the value itself reaches 6

LARGEST_EXPONENT = 690.0  # e**-690 is far from subnormal

_MANTISSA_BITS = np.int64(52)
_EXPONENT_BIAS = np.int64(1023)
_SQRT_HALF_BITS = np.uint64(0x3FE6A09E667F3BCD)
_TAIL = np.uint64(0xFFF0000000000000)

# Taylor: 1/k!; the remainder on |r| <= ln2/2 is below r**14/14! = 4e-18.
_E2, _E3, _E4, _E5, _E6, _E7 = 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040
_E8, _E9, _E10, _E11, _E12, _E13 = 1 / 40320, 1 / 362880, 1 / 3628800, 1 / 39916800, 1 / 479001600, 1 / 6227020800
# atanh: 2/(2k+1); the remainder on |s| <= 0.1716 is below 2 s**24/25 = 3e-20.
_L1, _L2, _L3, _L4, _L5, _L6 = 2 / 3, 2 / 5, 2 / 7, 2 / 9, 2 / 11, 2 / 13
_L7, _L8, _L9, _L10, _L11 = 2 / 15, 2 / 17, 2 / 19, 2 / 21, 2 / 23


@inlined
def exp(x):  # type: ignore[no-untyped-def]  # compiled: Numba infers the types
    """e**x for |x| <= 690; the result is never subnormal."""
    n = np.floor(x * INV_LN2 + 0.5)
    r = (x - n * LN2_HI) - n * LN2_LO
    p = _E9 + r * (_E10 + r * (_E11 + r * (_E12 + r * _E13)))
    p = _E4 + r * (_E5 + r * (_E6 + r * (_E7 + r * (_E8 + r * p))))
    p = 1.0 + (r + r * r * (_E2 + r * (_E3 + r * p)))
    return p * float_of_bits(np.uint64((np.int64(n) + _EXPONENT_BIAS) << _MANTISSA_BITS))


@inlined
def exponential(x):  # type: ignore[no-untyped-def]
    """E of the stream's definition: `exp` where that is defined, 0 below, infinite above, NaN of NaN."""
    inside = abs(x) <= LARGEST_EXPONENT
    beyond = 0.0 if x < 0.0 else x + np.inf
    return exp(x if inside else 0.0) if inside else beyond


@inlined
def log(y):  # type: ignore[no-untyped-def]
    """Natural logarithm of a normal positive number."""
    bits = bits_of_float(y)
    shift = (bits - _SQRT_HALF_BITS) & _TAIL  # exponent such that the mantissa lies in [sqrt(1/2), sqrt(2))
    f = float_of_bits(bits - shift)
    n = np.float64(np.int64(shift) >> _MANTISSA_BITS)
    s = (f - 1.0) / (f + 1.0)
    z = s * s
    p = _L7 + z * (_L8 + z * (_L9 + z * (_L10 + z * _L11)))
    p = _L1 + z * (_L2 + z * (_L3 + z * (_L4 + z * (_L5 + z * (_L6 + z * p)))))
    return n * LN2_HI + (n * LN2_LO + (s * (2.0 + z * p)))


@inlined
def log1p(x):  # type: ignore[no-untyped-def]
    """log(1 + x) for x > -1, with a small relative error however small x is."""
    y = 1.0 + x
    return log(y) + lost(x, y) / y


@inlined
def lost(x, y):  # type: ignore[no-untyped-def]
    """What rounding ``y = 1 + x`` has lost, exactly (Knuth's two-sum)."""
    v = y - 1.0
    return (1.0 - (y - v)) + (x - v)


@kernel
def deviance(x):  # type: ignore[no-untyped-def]
    """``h(x) = (1 + x) log(1 + x) - x`` for x > -1, and its condition ``|x log(1 + x)|``.

    An error of e U in x changes h by at most e U times the condition. With ``v = x / (2 + x)``,
    ``h = 2 (v**2 + (1 + v) (v**3/3 + v**5/5 + ...)) / (1 - v)``, used where the plain form cancels.
    """
    if abs(x) > 0.5:
        y = log1p(x)
        return (1.0 + x) * y - x, abs(x * y)
    v = x / (2.0 + x)
    z = v * v
    power = v * z
    total = power / 3.0
    k = 5.0
    while abs(power) > 1e-18 * z:
        power *= z
        total += power / k
        k += 2.0
    h = 2.0 * (z + (1.0 + v) * total) / (1.0 - v)
    return h, 2.6 * h


@kernel
def stirling(z):  # type: ignore[no-untyped-def]
    """What Stirling's formula leaves: ``log Gamma(z) - (z - 1/2) log z + z - log(2 pi)/2`` for z > 0.

    From 16 up the asymptotic series, cut before 1/(156 z**13) < 2e-18; below, ``f(z) = f(z + 1) + g(z)`` with
    ``g(z) = (z + 1/2) log1p(1/z) - 1 = v**2/3 + v**4/5 + ...``, ``v = 1/(2 z + 1)``.
    """
    total = 0.0
    while z < 16.0:
        if z < 1.0:
            total += (z + 0.5) * log1p(1.0 / z) - 1.0
        else:
            v = 1.0 / (2.0 * z + 1.0)
            w = v * v
            power = w
            k = 3.0
            while power > 1e-18:
                total += power / k
                power *= w
                k += 2.0
        z += 1.0
    w = 1.0 / (z * z)
    series = 1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w * (1 / 1188 - w * (691 / 360360)))))
    return total + series / z
