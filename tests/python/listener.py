import requests
import json

def listen_to_notifications():
    response = requests.get(
        'http://127.0.0.1:8005/mcp',
        headers={'Accept': 'text/event-stream'},
        stream=True
    )
    
    for line in response.iter_lines():
        if line.startswith(b'data: '):
            data = json.loads(line[6:])
            handle_notification(data)

def handle_notification(data):
    if data['type'] == 'progress':
        print(f"Progress: {data['progress']:.1f}% - {data['message']}")
    elif data['type'] == 'notification':
        print(f"Notification: {data['message']}")
