<?php echo "Bienvenue"; ?>
