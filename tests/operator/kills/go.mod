module tests/operator/kills

go 1.26.0
