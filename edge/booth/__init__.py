"""The officer's page: a process of its own that follows the lane like anyone else; a browser never reaches the lane."""
