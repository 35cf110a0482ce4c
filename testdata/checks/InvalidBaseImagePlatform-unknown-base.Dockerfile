FROM not-here:1
