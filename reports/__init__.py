"""Turn the results table into claims and one HTML page. Never imports torch, ray or mlflow."""
