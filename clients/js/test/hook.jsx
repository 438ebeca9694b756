import { useEffect, useState } from 'react';

function useSSENotifications(url) {
  const [notifications, setNotifications] = useState([]);
  const [progress, setProgress] = useState({});
  
  useEffect(() => {
    const eventSource = new EventSource(url);
    
    eventSource.onmessage = (event) => {
      const data = JSON.parse(event.data);
      
      if (data.type === 'progress') {
        setProgress(prev => ({
          ...prev,
          [data.task_id]: data
        }));
      } else if (data.type === 'notification') {
        setNotifications(prev => [...prev, data]);
      }
    };
    
    return () => eventSource.close();
  }, [url]);
  
  return { notifications, progress };
}
