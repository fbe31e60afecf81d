"""How good decisions are: measures over labelled series. Arrays in, figures out; numpy alone.

- `ranking`  what scores are worth before any threshold: ROC AUC, average precision, best F1
- `vus`      the volume under the precision-recall surface, kind to labels that are a little off
- `nab`      the Numenta Anomaly Benchmark's measure, of scores and of alerts
- `alerts`   what alerts are worth to who gets them: precision, recall, delay, how many a day
- `backtest` all of these of one setting
- `period`   after how many rows a series resembles itself, and the shingle that suggests
"""
