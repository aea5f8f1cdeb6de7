"""Turn the results table into claims and one HTML page. Never imports torch, ray or mlflow.

table.from_rows -> claims.cells -> across_claims.across            all data sets together, in two scopes
                                -> trade_off_claims.trade_offs     no worse and cheaper, P(on front); and speed_ups
   + predictions ----------------> example_claims.variance_shares  seeds or test examples? and calibrations
   + search trials --------------> search_claims.best_of           expected best of n configurations
                                   gaps.gaps                       which cells have no score, and why
The procedures behind them take arrays: statistics, estimates, splits, unpaired, examples, resamples, across,
aggregates, trade_off, latency, search, calibration, power. Figures are written as SVG by svg, placed by labels;
rank_diagram draws mean ranks.
"""
