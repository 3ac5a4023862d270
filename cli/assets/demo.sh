#!/bin/sh
# Makes demo.mp4 with ffmpeg 5.1 (libx264, drawtext). Run it in cli/assets.
set -e
font=${FONT:-/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf}
# A pulse every quarter second walks through a chord; the chord changes every 2.5 s, so the clip loops.
note='st(0,mod(floor(t*4),8)); st(1,floor(t/2.5));
 st(2,if(eq(ld(1),0),261.63,if(eq(ld(1),1),220.00,if(eq(ld(1),2),174.61,196.00))));
 st(3,if(eq(ld(0),0),1,if(eq(ld(0),1),1.5,if(eq(ld(0),2),2,if(eq(ld(0),3),2.5,if(eq(ld(0),4),3,if(eq(ld(0),5),2.5,if(eq(ld(0),6),2,1.5))))))));
 st(4,mod(t,0.25)); st(5,min(1,ld(4)/0.006)*min(1,(0.25-ld(4))/0.01));'
pulse='0.22*ld(5)*exp(-7*ld(4))*(sin(2*PI*ld(2)*ld(3)*t)+0.3*sin(4*PI*ld(2)*ld(3)*t))'
pad='0.05*sin(PI*ld(2)*t)'
left="$note $pulse*(0.75+0.25*sin(2*PI*t/5))+$pad"
right="$note $pulse*(0.75-0.25*sin(2*PI*t/5))+$pad"
ffmpeg -hide_banner -loglevel error -y -fflags +bitexact \
  -f lavfi -i "gradients=s=640x360:r=25:d=10:seed=7:n=4:c0=0x0e1f3a:c1=0x1d5570:c2=0x2a8f86:c3=0x233f5c:x0=0:y0=0:x1=640:y1=360:speed=0.008" \
  -f lavfi -i "color=0xf2c86b:s=10x24:r=25:d=10" \
  -f lavfi -i "aevalsrc=exprs='$left|$right':s=48000:d=10" \
  -filter_complex "[0:v]drawbox=x=70:y=306:w=500:h=4:color=white@0.25:t=fill[bar];
   [bar][1:v]overlay=x='65+49*t':y=296:eval=frame[dot];
   [dot]drawtext=fontfile=$font:text=mainstem:fontsize=68:fontcolor=white:x=(w-tw)/2:y=104,
   drawtext=fontfile=$font:text='%{pts\:hms}':fontsize=32:fontcolor=white@0.92:x=(w-tw)/2:y=200,
   drawtext=fontfile=$font:text='frame %{frame_num}':fontsize=22:fontcolor=white@0.75:x=(w-tw)/2:y=248,
   format=yuv420p[v]" \
  -map '[v]' -map 2:a -t 10 -map_metadata -1 -flags:v +bitexact -flags:a +bitexact \
  -c:v libx264 -profile:v main -level 3.0 -preset veryslow -bf 0 -crf 24 -g 25 -keyint_min 25 -sc_threshold 0 -threads 1 \
  -c:a aac -b:a 64k -ac 2 \
  -movflags +frag_keyframe+delay_moov+default_base_moof -f mp4 demo.mp4
