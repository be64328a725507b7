"""From votes and the truth to a judgement: metrics with intervals, calibration, and one self-contained report page."""
