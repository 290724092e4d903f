<?php
header("Content-Type: text/plain; charset=utf-8");
echo "It works. This is public/index.php: change it, commit, and push.\n";
