echo "SET 1"
echo "OK"
