"""AWS's Price List Service, answered from a table of localaws's own."""
