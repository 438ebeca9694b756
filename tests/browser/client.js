const eventSource = new EventSource('http://127.0.0.1:8005/mcp');

eventSource.onmessage = function(event) {
  const data = JSON.parse(event.data);
  
  switch(data.type) {
    case 'progress':
      updateProgressBar(data.task_id, data.progress);
      break;
    case 'notification':
      showNotification(data.message, data.notification_type);
      break;
    case 'status':
      updateConnectionStatus(data.status);
      break;
  }
};

eventSource.onerror = function(event) {
  console.error('SSE connection error:', event);
};
