"""What a build says of itself: what is inside, where it came from, and who says so."""

from nodebake.provenance.envelope import PROVENANCE
from nodebake.provenance.signing import sign
from nodebake.provenance.verifying import Verified, verify

__all__ = ["PROVENANCE", "Verified", "sign", "verify"]
