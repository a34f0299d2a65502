"""What each page shows, from the services' records: plain values for its template."""
