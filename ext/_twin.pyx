# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The stream's definition a second time: another compiler, another algorithm, no code shared with the kernels.

A negative binomial is a Poisson whose mean m is multiplied by a gamma variable of mean 1 and shape phi, so that

    F(k) = P(Z <= c),   c = log((k + 1) / m),   Z = log of a ratio of two gamma variables of mean 1,

of shapes a = k + 1 and phi (Fisher's z). Z has the log-density

    h(x) = r (x - log1p(f y) / f) + constant,   y = expm1(x),   f = r / (r + R),

with r the smaller shape and R the larger, mirrored where r = a; for the Poisson f = 0 and h = r (x - y). Its greatest
value is h(0) = 0, and it is concave. F is the integral of exp(h) up to c over the whole integral: Gauss-Legendre
panels, positive terms only, no gamma function, no continued fraction. `docs/twin.md` has the derivation, the error
bound and what was measured.
"""

from libc.math cimport INFINITY, exp, expm1, fabs, floor, fmax, fmin, isinf, ldexp, log, log1p, sqrt
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    CERTAIN = 0
    UNDECIDED = 1
    OVERFLOW = 2
    OUTSIDE = 3

cdef double COUNT_MAX = 4294967295.0
cdef double MEAN_MAX = 1e7
cdef double U = 2.0**-53
cdef double CUT = 2.0**-58      # relative to the integral, where a panel's remainder is left out
cdef double LOWEST = -690.0     # exp of less is left out: nothing is ever subnormal
cdef double PANELS = 128.0      # U, relative: what quadrature and the sum of a panel may add

cdef double[8] NODE = [
    0.095012509837637440185, 0.28160355077925891323, 0.45801677765722738634, 0.61787624440264374845,
    0.7554044083550030339, 0.86563120238783174388, 0.94457502307323257608, 0.9894009349916499326,
]
cdef double[8] WEIGHT = [
    0.18945061045506849629, 0.18260341504492358887, 0.16915651939500253819, 0.14959598881657673208,
    0.12462897125553387205, 0.09515851168249278481, 0.062253523938647892863, 0.027152459411754094852,
]

cdef struct Cdf:
    double below    # F(k)
    double above    # 1 - F(k)
    double error    # absolute, of both
    double mass     # P(k), to guide the search


cdef void philox(uint32_t *c, uint32_t k0, uint32_t k1) noexcept nogil:
    """Philox4x32-10 (Salmon et al., SC'11): ten rounds on four words, in place."""
    cdef uint64_t p0, p1
    cdef int i
    for i in range(10):
        p0 = <uint64_t>0xD2511F53 * c[0]
        p1 = <uint64_t>0xCD9E8D57 * c[2]
        c[0] = <uint32_t>(p1 >> 32) ^ c[1] ^ k0
        c[1] = <uint32_t>p1
        c[2] = <uint32_t>(p0 >> 32) ^ c[3] ^ k1
        c[3] = <uint32_t>p0
        k0 += <uint32_t>0x9E3779B9
        k1 += <uint32_t>0xBB67AE85


cdef double uniform_at(uint64_t seed, uint64_t s, uint64_t n, uint64_t t) noexcept nogil:
    """u of one address: 52 bits of two planes, and a half."""
    cdef uint32_t hi[4]
    cdef uint32_t lo[4]
    hi[0], hi[1], hi[2], hi[3] = <uint32_t>t, <uint32_t>(n >> 2), <uint32_t>s, 0
    lo[0], lo[1], lo[2], lo[3] = <uint32_t>t, <uint32_t>(n >> 2), <uint32_t>s, 1
    philox(hi, <uint32_t>seed, <uint32_t>(seed >> 32))
    philox(lo, <uint32_t>seed, <uint32_t>(seed >> 32))
    return (<double>((<uint64_t>hi[n & 3] << 20) | (lo[n & 3] >> 12)) + 0.5) * 2.0**-52


cdef double E(double x) noexcept nogil:
    """e**x as the definition of the stream has it, step by step (docs/design.md)."""
    cdef double n, r, p
    if x < -690.0:
        return 0.0
    if x > 690.0:
        return INFINITY
    if x != x:
        return x
    n = floor(x * 1.4426950408889634 + 0.5)
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
    p = 1.0 / 39916800.0 + r * (1.0 / 479001600.0 + r * (1.0 / 6227020800.0))
    p = 1.0 / 362880.0 + r * (1.0 / 3628800.0 + r * p)
    p = 1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0 + r * (1.0 / 40320.0 + r * p))))
    p = 1.0 + (r + r * r * (0.5 + r * (1.0 / 6.0 + r * p)))
    return ldexp(p, <int>n)


cdef inline double logarithm(double y, double f) noexcept nogil:
    """log(1 + f y) / f, or its limit."""
    return log1p(f * y) / f if f > 0.0 else y


cdef inline void add_node(double x, double weight, double r, double f, double *total, double *spread) noexcept nogil:
    """Add exp(h(x)), and its error in U."""
    cdef double y = expm1(x), g = logarithm(y, f), h = r * (x - g), value
    if h > LOWEST:
        value = weight * exp(h)
        total[0] += value
        # 4 ulp for each function of libm, 1 for each operation, and the rounding of x itself.
        spread[0] += value * (16.0 * r * fabs(g) + 2.0 * r * fabs(x * y) / (1.0 + f * y) + 2.0 * fabs(h))


cdef void side(double x, double sign, double r, double f, double *integral, double *error) noexcept nogil:
    """Integrate exp(h) from x to infinity on one side, panel by panel; with an absolute error."""
    cdef double y, d, h, fall, bend, half, total = 0.0, spread = 0.0
    cdef int i
    while True:
        y = expm1(x)
        d = 1.0 + f * y
        h = r * (x - logarithm(y, f))
        fall = sign * r * (1.0 - f) * y / d         # -h' in the direction of travel
        bend = r * (1.0 - f) * (y + 1.0) / (d * d)  # -h''
        # h is concave, so that exp(h) / fall bounds all that is left. Written such that NaN ends it, too.
        if not fall <= 0.0 and not (h >= LOWEST and exp(h) >= CUT * total * fall):
            break
        # Narrow on the scales of h's bend and slope at x, and of all that happens near 0 (h has poles at Im x = +-pi).
        half = 0.5 * fmin(fmax(1.25, -0.6 * x), fmin(1.75 / sqrt(bend), 7.0 / (fabs(fall) + 1e-300)))
        for i in range(8):
            add_node(x + sign * half * (1.0 - NODE[i]), half * WEIGHT[i], r, f, &total, &spread)
            add_node(x + sign * half * (1.0 + NODE[i]), half * WEIGHT[i], r, f, &total, &spread)
        x += sign * 2.0 * half
    integral[0] = total
    error[0] = (spread + PANELS * total) * U


cdef Cdf cdf(double k, double m, double phi) noexcept nogil:
    """F(k; m, phi) and 1 - F(k) for k >= 0, m in [2**-53, 1e7] and phi in [1e-6, 1e12] or inf."""
    cdef Cdf found
    cdef double a = k + 1.0, ratio = a / m, r = fmin(a, phi), f = 0.0 if isinf(phi) else r / (a + phi)
    cdef double x = log1p((a - m) / m) if 0.5 < ratio < 2.0 else log(ratio)
    cdef double left = 0.0, right = 0.0, left_error = 0.0, right_error = 0.0, total, h, front = 0.0
    if a < phi:
        x = -x
    h = r * (x - logarithm(expm1(x), f))
    if h < LOWEST:  # the smaller tail is below 1e-290
        left, right = (0.0, 1.0) if x < 0.0 else (1.0, 0.0)
    else:
        side(x, -1.0, r, f, &left, &left_error)
        side(x, 1.0, r, f, &right, &right_error)
        front = exp(h)
    total = left + right
    found.below, found.above = (right / total, left / total) if a < phi else (left / total, right / total)
    # The last but one is what the rounding of x moves from one side to the other.
    found.error = (right / total * left_error + left / total * right_error + 8.0 * U * fabs(x) * front) / total + 1e-290
    found.mass = front / total * (1.0 if isinf(phi) else (phi + m) / (phi + k)) / m
    return found


cdef double normal(double v) noexcept nogil:
    """The standard normal quantile of v <= 1/2 within 5e-4 (Abramowitz and Stegun 26.2.23)."""
    cdef double t = sqrt(-2.0 * log(v))
    return (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t


cdef double newton(double k, Cdf at, double m, double v, double w) noexcept nogil:
    """Where F is v (1 - F is w) if its normal quantile is linear in k or, below the mean, in log(k + 1); -1: unknown."""
    cdef double tail = fmin(at.below, at.above), z, target, change
    if tail < 1e-280 or at.mass < 1e-280:
        return -1.0
    z = normal(tail) if at.below < at.above else -normal(tail)
    target = normal(v) if v < 0.5 else -normal(w)
    change = (target - z) * exp(-0.5 * z * z) * 0.3989422804014327 / at.mass
    return k + change if k > m else (k + 1.0) * exp(fmax(fmin(change / (k + 1.0), 5.0), -30.0)) - 1.0


cdef double guess(double m, double phi, double v, double w) noexcept nogil:
    """Wilson and Hilferty's quantile of a gamma variable with the mean and the variance of the counts."""
    cdef double c = (1.0 / m + 1.0 / phi) / 9.0, root = 1.0 - c + sqrt(c) * (normal(v) if v < 0.5 else -normal(w))
    return m * root * root * root if root > 0.0 else 0.0


cdef int quantile_of(double m, double phi, double pi, double u, int64_t *count) noexcept nogil:
    """min {k : pi + (1 - pi) F(k) >= u}: close in from both sides until F(y - 1) and F(y) have been computed."""
    cdef double low = -1.0, high = COUNT_MAX + 1.0, k, d, v, w, slack
    cdef Cdf at
    cdef int i
    count[0] = 0
    if not m <= MEAN_MAX:
        return OUTSIDE
    if u <= pi:
        return CERTAIN
    v, w = (u - pi) / (1.0 - pi), (1.0 - u) / (1.0 - pi)  # F(k) >= v, 1 - F(k) <= w; 1 - u is exact
    slack = 4.0 if pi > 0.0 else 0.0                      # U, relative: three roundings each, none where pi is 0
    if m * (1.0 + 2.0 * slack * U) <= w:  # P(Y > 0) <= m (Markov): so F(0) >= v
        return CERTAIN
    k = fmin(fmax(floor(guess(m, phi, v, w)), 0.0), COUNT_MAX)
    for i in range(200):
        at = cdf(k, m, phi)
        d = at.below - v if at.below < at.above else w - at.above  # the smaller tail decides
        count[0] = <int64_t>k
        if not fabs(d) > at.error + (4.0 + slack) * U * (fmin(at.below, at.above) + fabs(d)):
            return UNDECIDED
        low, high = (low, k) if d > 0.0 else (k, high)
        if high - low == 1.0:
            count[0] = <int64_t>fmin(high, COUNT_MAX)
            return OVERFLOW if high > COUNT_MAX else CERTAIN
        k = floor(newton(k, at, m, v, w)) + (0.0 if d > 0.0 else 1.0) if i < 30 else -1.0
        if k < 0.0:
            k = floor(0.5 * (low + high) if high < 4.0 * (low + 2.0) else sqrt((low + 2.0) * high))
        k = fmin(fmax(k, low + 1.0), high - 1.0)
    return UNDECIDED


def words(counter, key):
    """Return the four output words of Philox4x32-10 for a counter of four words and a key of two."""
    cdef uint32_t c[4]
    c[0], c[1], c[2], c[3] = counter
    philox(c, key[0], key[1])
    return c[0], c[1], c[2], c[3]


def uniform(uint64_t seed, uint64_t sample, uint64_t cell, uint64_t feature):
    """Return u of one address."""
    return uniform_at(seed, sample, cell, feature)


def tails(double k, double m, double phi):
    """Return F(k), 1 - F(k) and a bound of the absolute error of both."""
    cdef Cdf at = cdf(k, m, phi)
    return at.below, at.above, at.error


def exponential(double x):
    """Return E(x)."""
    return E(x)


def predictors(
    const int64_t[::1] indptr, const int64_t[::1] indices, const double[::1] data, const int64_t[::1] cells,
    const double[:, :, ::1] beta, const int64_t[::1] rows, const int64_t[::1] columns, double[::1] eta,
):
    """Fill `eta` for addresses: `cells` are rows of a design in CSR, `rows` and `columns` are positions in `beta`."""
    cdef Py_ssize_t i, j
    cdef double total
    with nogil:
        for i in range(eta.shape[0]):
            total = 0.0
            for j in range(indptr[cells[i]], indptr[cells[i] + 1]):
                total = total + data[j] * beta[rows[i], indices[j], columns[i]]
            eta[i] = total


def quantiles(
    const double[::1] m, const double[::1] phi, const double[::1] u, int64_t[::1] counts, uint8_t[::1] status,
    const double[::1] pi=None,
):
    """Fill `counts` and `status` for arrays of one length; without zero inflation `pi` is None."""
    cdef Py_ssize_t i
    cdef bint inflated = pi is not None
    with nogil:
        for i in range(m.shape[0]):
            status[i] = quantile_of(m[i], phi[i], pi[i] if inflated else 0.0, u[i], &counts[i])


def fill(
    uint64_t seed, const int64_t[::1] samples, const int64_t[::1] cells, const int64_t[::1] features,
    const double[::1] mu, const double[::1] alpha, const double[::1] size_factor, const double[::1] phi,
    const double[::1] pi, const double[::1] eta, double[::1] m, double[::1] u, int64_t[::1] counts, uint8_t[::1] status,
):
    """Fill `m`, `u`, `counts` and `status` for addresses and the parameters there, all of one length.

    Without zero inflation `pi` is None, without a design `eta` is.
    """
    cdef Py_ssize_t i
    cdef bint inflated = pi is not None, designed = eta is not None
    cdef double base
    with nogil:
        for i in range(counts.shape[0]):
            base = mu[i] * alpha[i]
            if designed:
                base = base * E(eta[i])
            m[i] = base * size_factor[i]
            u[i] = uniform_at(seed, samples[i], cells[i], features[i])
            status[i] = quantile_of(m[i], phi[i], pi[i] if inflated else 0.0, u[i], &counts[i])
