"""What a run leaves for others: its command, machine and libraries; the saved model; the published folder."""
